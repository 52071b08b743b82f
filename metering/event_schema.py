"""JSON Schema of the events, made from their types and the checks of `metering.event_validation`.

It refuses no event that those checks accept. What JSON Schema can't say, it accepts and describes:
docs/reference/event-schema.md lists that.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, get_args

import msgspec
from msgspec import Struct

from metering import schema_patterns as patterns
from metering.events import (
    VALUE_BYTES_MAX,
    AnyEvent,
    AssignmentData,
    ChangedFields,
    ChargeNoticeData,
    CorrectionData,
    MigrationData,
    Move,
    OwnerTerms,
    PurchaseData,
    RegistrationData,
    RoutingData,
    SettlementData,
)
from metering.personal_identifiers import PLATFORM_NAMES
from metering.routing_policy import StoreBudget

Schema = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
SCHEMA_ID: Final = "urn:phonemeter:phone-events"

_SEARCHED_INSIDE: Final[frozenset[type]] = frozenset(
    {AssignmentData, ChangedFields, Move, OwnerTerms, StoreBudget}
)
"""Structs within data whose texts are searched for persons; of others those of data itself are."""

_TIMES_IN_RANGE: Final[frozenset[type]] = frozenset(
    {PurchaseData, AssignmentData, ChangedFields, ChargeNoticeData}
)
"""Data and structs in it whose times have to lie in the range of those of events."""

_OWNER_TYPES: Final[frozenset[type]] = frozenset({RegistrationData, ChangedFields})

_ARRIVAL: Final = "At most an hour after the record's arrival, which a schema does not know."

_DESCRIPTIONS: Final[Mapping[tuple[type | None, str], str]] = {
    (None, "id"): (
        "The idempotency key (rule 2). Of a tap it is the SHA-256 of appid, a colon and the code, as 64 "
        "lower-case hexadecimal digits; an empty code has none."
    ),
    (None, "source"): "The name of the back end; give each one its own.",
    (None, "subject"): "The appid, which is the record's key as well; `clock` of a clock tick.",
    (None, "time"): f"The moment of the fact. {_ARRIVAL}",
    (None, "datacontenttype"): "The data is JSON, whatever this says.",
    (
        RoutingData,
        "store_budgets",
    ): "Each store once, which JSON Schema can't compare; an empty one is the rest.",
    (MigrationData, "to"): "An appid, and not the subject, which JSON Schema can't compare.",
    (
        ChargeNoticeData,
        "price_min_micro_yuan",
    ): "At most `price_max_micro_yuan`, which JSON Schema can't compare.",
    (PurchaseData, "paid_at"): _ARRIVAL,
    (PurchaseData, "used_before"): "At most `calls`, which JSON Schema can't compare.",
    (AssignmentData, "paid_at"): _ARRIVAL,
    (AssignmentData, "assigned_at"): f"The time of the event if it is not given. {_ARRIVAL}",
    (AssignmentData, "used_before"): "At most `calls`, which JSON Schema can't compare.",
}


def event_kinds() -> tuple[type[Struct], ...]:
    """The types of events, in the order of their declaration."""
    return get_args(AnyEvent)


def tag_of(kind: type[Struct]) -> str:
    """The word of `type` of a type of events."""
    return str(kind.__struct_config__.tag)


def data_of(kind: type[Struct]) -> type[Struct] | None:
    """The type of the data of a type of events; None without data."""
    declared = {field.name: field.type for field in msgspec.structs.fields(kind)}
    return declared.get("data")


def event_schema() -> Schema:
    """The schema of every event in structured mode, with one definition per type."""
    return {
        "$schema": DIALECT,
        "$id": SCHEMA_ID,
        "title": "The events of phone-events",
        "description": (
            f"CloudEvents 1.0 in JSON and UTF-8, of at most {VALUE_BYTES_MAX} bytes, no key twice in one "
            "object. A number is an integer in its text as well: 250.0 is refused. A null is an absent "
            "field. Unknown fields are ignored."
        ),
        "oneOf": [{"$ref": f"#/$defs/{tag_of(kind)}"} for kind in event_kinds()],
        "$defs": definitions("#/$defs/"),
    }


def definitions(prefix: str) -> dict[str, Schema]:
    """The definitions of `event_schema`: each type, its data and what these consist of.

    References to them begin with `prefix`.
    """
    kinds = event_kinds()
    _, found = msgspec.json.schema_components(kinds, ref_template=f"{prefix}{{name}}")
    made = _Definitions(prefix, {name: dict(schema) for name, schema in found.items()})
    defined: dict[str, Schema] = {}
    for kind in kinds:
        tag, data = tag_of(kind), data_of(kind)
        defined[tag] = made.event(kind)
        if data is not None:
            defined[data_name(tag)] = made.data(data)
    defined |= made.structs()
    return defined | patterns.definitions(prefix)


def data_name(tag: str) -> str:
    """The name of the definition of the data of a type of events."""
    return f"{tag}.data"


class _Definitions:
    """The definitions made from those of msgspec, which know the types alone."""

    def __init__(self, prefix: str, found: dict[str, Schema]) -> None:
        self._prefix = prefix
        self._found = found

    def event(self, kind: type[Struct]) -> Schema:
        """An event of one type, in structured mode."""
        schema, tag = self._found[kind.__name__], tag_of(kind)
        fields = {
            name: self._envelope_field(name, field)
            for name, field in schema["properties"].items()
            if name not in {"data", "type"}
        }
        inline: Schema = {"properties": {"data_base64": {"type": "null"}}}
        encoded: Schema = {"properties": {"data_base64": {"type": "string"}, "data": {"type": "null"}}}
        data: Schema = {"description": "There is none; any is ignored."}
        base64: Schema = {
            "description": "The data as JSON in base64, instead of `data`.",
            "type": ["string", "null"],
            "contentEncoding": "base64",
            "contentMediaType": "application/json",
        }
        if data_of(kind) is not None:
            data = _or_null(self._ref(data_name(tag)))
            base64["contentSchema"] = self._ref(data_name(tag))
            inline["properties"]["data"] = {"type": "object"}
            inline["required"] = ["data"]
        return {
            "title": tag,
            "description": _sentence(schema["description"]),
            "type": "object",
            "properties": {
                "type": {"const": tag},
                **fields,
                "data": data,
                "data_base64": base64,
            },
            "required": ["type", *(name for name in schema["required"] if name not in {"data", "type"})],
            "allOf": [self._ref("no_forbidden_names")],
            "anyOf": [inline, encoded | {"required": ["data_base64"]}],
        }

    def _envelope_field(self, name: str, field: Schema) -> Schema:
        if name == "specversion":
            schema: Schema = {"const": "1.0"}
        elif name == "time":
            schema = self._ref("time_in_range")
        elif name == "subject":
            schema = {"type": "string", "pattern": patterns.APPID} | self._all_of("no_person")
        elif name in {"id", "source"}:
            schema = field | self._all_of("no_person")
        else:
            schema = _or_null(_plain(field))
        return _described(schema, None, name)

    def data(self, struct: type[Struct]) -> Schema:
        """The data of an event: an optional field may be null, and every text is searched for persons."""
        schema = self._struct(struct, is_searched=True)
        for name, field in schema["properties"].items():
            if name not in schema.get("required", ()):
                schema["properties"][name] = _or_null(field)
        if struct is CorrectionData:
            schema["oneOf"] = list(_void_or_set())
        return schema

    def structs(self) -> dict[str, Schema]:
        """The structs that data consists of."""
        inside = {struct for kind in event_kinds() if (data := data_of(kind)) for struct in _inside(data)}
        return {
            struct.__name__: self._struct(struct, is_searched=struct in _SEARCHED_INSIDE)
            for struct in sorted(inside, key=lambda struct: struct.__name__)
        }

    def _struct(self, struct: type[Struct], *, is_searched: bool) -> Schema:
        found = self._found[struct.__name__]
        made = {
            "description": _sentence(found["description"]),
            "type": "object",
            "properties": {
                name: _described(self._field(struct, name, field, is_searched=is_searched), struct, name)
                for name, field in found["properties"].items()
            },
        }
        kept = {
            name: found[name] for name in ("required", "additionalProperties") if found.get(name) is not None
        }
        return made | {name: value for name, value in kept.items() if value != []}

    def _field(self, struct: type[Struct], name: str, field: Schema, *, is_searched: bool) -> Schema:
        schema = _plain(field)
        if struct in _TIMES_IN_RANGE:
            schema = _each(schema, lambda one: self._time(one, "time_in_range"))
        schema = _each(schema, lambda one: self._time(one, "time"))
        if is_searched:
            schema = _each(schema, lambda one: self._searched(name, one))
        if struct is SettlementData and schema.get("items", {}).get("type") == "string":
            schema["items"] |= self._all_of("platform_name")
        if name == "client":
            schema["pattern"] = patterns.CLIENT
        if struct is MigrationData and name == "to":
            schema["pattern"] = patterns.APPID
        if name == "entity_type" and struct in _OWNER_TYPES:
            schema = _each(schema, _of_owner)
        return schema

    def _searched(self, name: str, schema: Schema) -> Schema:
        # Of a quota only the pack is searched.
        if schema.get("type") != "string" or "pattern" in schema:
            return schema
        searched = "platform_name" if name in PLATFORM_NAMES else "store" if name == "store" else "no_person"
        return schema | self._all_of(searched)

    def _time(self, schema: Schema, definition: str) -> Schema:
        return self._ref(definition) if schema.get("format") == "date-time" else schema

    def _all_of(self, name: str) -> Schema:
        """A reference with others beside it, which older dialects don't read beside `$ref`."""
        return {"allOf": [self._ref(name)]}

    def _ref(self, name: str) -> Schema:
        return {"$ref": f"{self._prefix}{name}"}


def _inside(struct: type[Struct]) -> Iterator[type[Struct]]:
    """The structs within a struct, at any depth."""
    for field in msgspec.structs.fields(struct):
        for inner in _structs_in(field.type):
            yield inner
            yield from _inside(inner)


def _structs_in(annotation: Any) -> Iterator[type[Struct]]:  # noqa: ANN401 - an annotation is anything
    if isinstance(annotation, type) and issubclass(annotation, Struct):
        yield annotation
    for part in get_args(annotation):
        yield from _structs_in(part)


def _plain(field: Schema) -> Schema:
    """A schema of msgspec in the words that are used here."""
    schema = {name: value for name, value in field.items() if name != "default" or value not in (None, [])}
    if "pattern" in schema:
        schema["pattern"] = patterns.portable(schema["pattern"])
    return {name: _plain(value) if name == "items" else value for name, value in schema.items()}


def _each(schema: Schema, change: Callable[[Schema], Schema]) -> Schema:
    """A schema with each of its alternatives changed."""
    if "anyOf" in schema:
        return schema | {"anyOf": [change(one) for one in schema["anyOf"]]}
    return change(schema)


def _of_owner(schema: Schema) -> Schema:
    if schema.get("type") != "string":
        return schema
    return schema | {"pattern": patterns.owner_types()}


def _or_null(schema: Schema) -> Schema:
    if {"type": "null"} in schema.get("anyOf", ()):
        return schema
    apart: Schema = {name: schema.pop(name) for name in ("description", "default") if name in schema}
    return {"anyOf": [schema, {"type": "null"}], **apart}


def _void_or_set() -> Sequence[Schema]:
    """A correction is either void, or it sets a field."""
    absent = {"enum": [False, None]}
    something = {"type": "object", "not": {"additionalProperties": {"type": "null"}}}
    return (
        {"properties": {"void": {"const": True}, "set": {"type": "null"}}, "required": ["void"]},
        {"properties": {"void": absent, "set": something}, "required": ["set"]},
    )


def _described(schema: Schema, struct: type[Struct] | None, name: str) -> Schema:
    said = _DESCRIPTIONS.get((struct, name))
    return schema if said is None else {"description": said, **schema}


def _sentence(docstring: str) -> str:
    """A docstring in one line, without the indentation of the code."""
    return " ".join(docstring.split())
