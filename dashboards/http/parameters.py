"""The parameters of each read, as types that decode them and describe them."""

from datetime import date
from typing import Annotated, Any, Final, Literal, TypeVar, get_args, get_origin

import msgspec
from msgspec import Meta, Struct

from dashboards.http.cursors import CURSOR_CHARACTERS_MAX
from dashboards.http.errors import WrongParameterError
from dashboards.reads.alerts import AlertReason, AlertState
from dashboards.reads.packs import PackStatus
from dashboards.reads.usage import Grouping, Period
from metering.events import APPID_PATTERN, Capability
from metering.times import EARLIEST_MS, LATEST_MS, shanghai_date

LIMIT_MAX: Final = 1_000
LIMIT_DEFAULT: Final = 100
SHOWN_CHARACTERS: Final = 60
FIRST_DAY: Final = shanghai_date(EARLIEST_MS)
LAST_DAY: Final = shanghai_date(LATEST_MS)
DAYS_READ: Final = f"{FIRST_DAY} and {LAST_DAY}"

P = TypeVar("P", bound=Struct)

OfCapability = Annotated[Capability, Meta(description="Only this capability; without it both.")]


class NoParameters(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """No parameters."""


class PageParameters(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The choice of a page of a list."""

    limit: Annotated[int, Meta(ge=1, le=LIMIT_MAX, description="How many rows at most.")] = LIMIT_DEFAULT
    cursor: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=CURSOR_CHARACTERS_MAX,
                description="`next` of the page before, with the same parameters.",
            ),
        ]
        | None
    ) = None


class AppsParameters(PageParameters, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of the list of apps."""

    search: Annotated[str, Meta(max_length=64, description="A part of the name or of the appid.")] = ""


class PacksParameters(PageParameters, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of the packs of an app."""

    capability: OfCapability | None = None
    status: Annotated[PackStatus, Meta(description="Only packs that are so now.")] | None = None


class UsageParameters(PageParameters, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of the use of an app."""

    period: Annotated[Period, Meta(description="What a row is about, in Shanghai.")] = "day"
    from_: Annotated[date, Meta(description=f"First Shanghai day; between {DAYS_READ}.")] | None = (
        msgspec.field(default=None, name="from")
    )
    to: (
        Annotated[
            date,
            Meta(description=f"Last Shanghai day, which is included; today without it. Between {DAYS_READ}."),
        ]
        | None
    ) = None
    capability: OfCapability | None = None
    group: Annotated[Grouping, Meta(description="Separate rows by scene, store or both.")] | None = None


class AlertsParameters(PageParameters, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of the alerts of an app."""

    capability: OfCapability | None = None
    reason: Annotated[AlertReason, Meta(description="Only alerts for this reason.")] | None = None
    level: Annotated[int, Meta(ge=0, le=100, description="Only alerts of this level, in percent.")] | None = (
        None
    )
    state: Annotated[AlertState, Meta(description="Only alerts that are so now.")] | None = None


class EventParameters(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of the explanation of an event."""

    explain: Annotated[
        bool,
        Meta(description="false: only look its entries up in ClickHouse, in `stored`, which takes no time."),
    ] = True

    app: (
        Annotated[
            str,
            Meta(
                pattern=APPID_PATTERN.replace(r"\Z", "$"),
                description="Whose event it is; only needed where several apps have one of that id.",
            ),
        ]
        | None
    ) = None


def decoded(given: list[tuple[str, str]], kind: type[P]) -> P:
    """The parameters of a request.

    Raises:
        WrongParameterError: one is unknown, given twice, or has a value that it cannot have.
    """
    known = msgspec.structs.fields(kind)
    names = [field.encode_name for field in known]
    values: dict[str, str] = {}
    for name, value in given:
        if name not in names:
            told = f"there are {', '.join(names)}" if names else "there are none"
            raise WrongParameterError(f"{name[:SHOWN_CHARACTERS]!r} is no parameter here; {told}.")
        if name in values:
            raise WrongParameterError(f"{name} is given twice; give it once.")
        values[name] = value
    for field in known:
        if field.encode_name in values:
            _check(field.encode_name, values[field.encode_name], field.type)
    return msgspec.convert(values, kind, strict=False)


def described(kind: type[Struct]) -> list[dict[str, Any]]:
    """The parameters for the OpenAPI document."""
    _, schemas = msgspec.json.schema_components([kind], ref_template="{name}")
    properties = schemas[kind.__name__]["properties"]
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": schema.pop("description", ""),
            "schema": schema,
        }
        for name, schema in ((name, _without_null(one)) for name, one in properties.items())
    ]


def _check(name: str, value: str, type_: Any) -> None:  # noqa: ANN401 - the type of a field
    # An optional field would take "null" for none.
    options = [one for one in getattr(type_, "__args__", ()) if one is not type(None)]
    expected = options[0] if type(None) in getattr(type_, "__args__", ()) else type_
    try:
        msgspec.convert(value, expected, strict=False)
    except msgspec.ValidationError as error:
        why = str(error).replace("`", "").split(" - at ")[0]
        words = _words(expected)
        told = f"it is one of {', '.join(words)}" if words else f"{why[0].lower()}{why[1:]}"
        raise WrongParameterError(f"{name} is {value[:SHOWN_CHARACTERS]!r}: {told}.") from None


def _words(type_: Any) -> tuple[str, ...]:  # noqa: ANN401 - the type of a field
    """The words that a parameter may be, if it is one of some."""
    inner = get_args(type_)[0] if get_origin(type_) is Annotated else type_
    return get_args(inner) if get_origin(inner) is Literal else ()


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema without null, which a query cannot have, and without what stands for absence."""
    found = dict(schema)
    if "anyOf" in found:
        (only,) = [one for one in found.pop("anyOf") if one != {"type": "null"}]
        found |= only
    if found.get("default", "") is None:
        del found["default"]
    return found
