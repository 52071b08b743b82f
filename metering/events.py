"""The event: a CloudEvents 1.0 record of `phone-events`, read strictly or rejected (DESIGN section 5)."""

import re
from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Final, Literal, NamedTuple
from unicodedata import digit, normalize

import msgspec
from msgspec import Meta, Struct

from metering.times import CLOCK_SKEW_MS, EARLIEST_MS, LATEST_MS, from_ms

Capability = Literal["quick", "realtime"]
CAPABILITIES: Final[tuple[Capability, ...]] = ("quick", "realtime")

VALUE_BYTES_MAX: Final = 65_536
"""An event is a few hundred bytes; more is a mistake upstream."""

QUOTED_CHARACTERS_MAX: Final = 100
"""What a sentence repeats of an event at most: an unknown type may be as long as an event."""

CLOCK_KEY: Final = "clock"
"""Key and subject of a clock tick, which belongs to a whole partition and to no app."""

APPID_PATTERN: Final = r"^[A-Za-z0-9_-]{1,64}\Z"

Identifier = Annotated[str, Meta(min_length=1, max_length=128)]
Label = Annotated[str, Meta(max_length=64)]
Text = Annotated[str, Meta(max_length=256)]
Zoned = Annotated[datetime, Meta(tz=True)]
MicroYuan = Annotated[int, Meta(ge=0, le=10**15)]


class AuthorizationData(Struct, frozen=True, gc=False):
    """Where a tap happened: capability, scene (entry page), store, build, keyed hash of the client."""

    capability: Capability
    scene: Label = ""
    store: Label = ""
    env: Label = ""
    client: Annotated[str, Meta(max_length=128)] = ""


class UnsuccessfulData(AuthorizationData, frozen=True, gc=False):
    """A tap that gave no number, with the component's `errno`: 103 denied, 1400001 quota exhausted, ..."""

    errno: Annotated[int, Meta(ge=-(2**31), lt=2**31)] = 0


class PurchaseData(Struct, frozen=True, gc=False):
    """One pack bought: its size in calls, validity, price, and when it was paid and shall start."""

    pack_id: Identifier
    capability: Capability
    calls: Annotated[int, Meta(ge=1, le=1_000_000_000)]
    validity_days: Annotated[int, Meta(ge=1, le=3_660)]
    price_micro_yuan: MicroYuan
    paid_at: Zoned
    order_id: Annotated[str, Meta(max_length=128)] = ""
    starts_at: Zoned | None = None


class RefundData(Struct, frozen=True, gc=False):
    """The pack whose price is asked back."""

    pack_id: Identifier


class RegistrationData(Struct, frozen=True, gc=False):
    """Who owns the app; decides exemption (DESIGN rule 9)."""

    entity_type: Label
    name: Text = ""
    category: Label = ""


class AlertingData(Struct, frozen=True, gc=False):
    """An app's own alert thresholds; what is absent stays as it is."""

    levels_percent: Annotated[list[Annotated[int, Meta(ge=0, le=100)]], Meta(max_length=10)] | None = None
    expiry_days: Annotated[list[Annotated[int, Meta(ge=0, le=365)]], Meta(max_length=10)] | None = None
    run_out_lead_days: Annotated[int, Meta(ge=0, le=365)] | None = None
    burn_minute_calls: Annotated[int, Meta(ge=0, le=1_000_000_000)] | None = None
    burn_client_calls: Annotated[int, Meta(ge=0, le=1_000_000_000)] | None = None
    burn_percent: Annotated[int, Meta(ge=100, le=10_000)] | None = None


class ObservationData(Struct, frozen=True, gc=False):
    """What the platform's usage interface said of one pack, or of the trial when `pack_id` is empty."""

    capability: Capability
    pack_id: Annotated[str, Meta(max_length=128)] = ""
    used: Annotated[int, Meta(ge=0)] = 0
    size: Annotated[int, Meta(ge=0)] = 0


class Event(Struct, frozen=True, kw_only=True, gc=False, tag_field="type"):
    """What all events share; `subject` is the appid, `id` the idempotency key (DESIGN rule 2)."""

    specversion: Literal["1.0"]
    id: Identifier
    source: Text
    subject: str
    time: Zoned


class Authorization(Event, frozen=True, kw_only=True, gc=False):
    """One tap's outcome."""

    data: AuthorizationData


class Succeeded(Authorization, frozen=True, kw_only=True, gc=False, tag="phone.authorization.succeeded"):
    """A user gave the number: exactly one call."""


class Unsuccessful(Authorization, frozen=True, kw_only=True, gc=False):
    """A tap that gave no number: counted, never charged."""

    data: UnsuccessfulData


class Denied(Unsuccessful, frozen=True, kw_only=True, gc=False, tag="phone.authorization.denied"):
    """A user refused."""


class Failed(Unsuccessful, frozen=True, kw_only=True, gc=False, tag="phone.authorization.failed"):
    """The component failed."""


class Purchased(Event, frozen=True, kw_only=True, gc=False, tag="pack.purchased"):
    """A pack was bought."""

    data: PurchaseData


class Refunded(Event, frozen=True, kw_only=True, gc=False, tag="pack.refunded"):
    """A refund was asked for."""

    data: RefundData


class Registered(Event, frozen=True, kw_only=True, gc=False, tag="account.registered"):
    """An app was registered or its owner changed."""

    data: RegistrationData


class AlertingSet(Event, frozen=True, kw_only=True, gc=False, tag="account.alerting_set"):
    """An owner set thresholds."""

    data: AlertingData


class UsageObserved(Event, frozen=True, kw_only=True, gc=False, tag="platform.usage_observed"):
    """The platform told its own count."""

    data: ObservationData


class ClockTicked(Event, frozen=True, kw_only=True, gc=False, tag="clock.ticked"):
    """Time passed for every app of the partition."""


AnyEvent = (
    Succeeded
    | Denied
    | Failed
    | Purchased
    | Refunded
    | Registered
    | AlertingSet
    | UsageObserved
    | ClockTicked
)

EVENT_TYPES: Final[tuple[str, ...]] = tuple(
    str(kind.__struct_config__.tag)
    for kind in (
        Succeeded,
        Denied,
        Failed,
        Purchased,
        Refunded,
        Registered,
        AlertingSet,
        UsageObserved,
        ClockTicked,
    )
)

RejectionReason = Literal[
    "too_large",
    "not_utf8",
    "not_json",
    "unknown_type",
    "invalid_field",
    "time_out_of_range",
    "key_missing",
    "key_mismatch",
    "phone_number",
]


class Rejection(NamedTuple):
    """Why a record can't be an event: a `reason` to count by and one `sentence` to read."""

    reason: RejectionReason
    sentence: str


decoder: Final = msgspec.json.Decoder(AnyEvent)
"""Reads the fields of an event; what it accepts may still be implausible."""

EARLIEST: Final = from_ms(EARLIEST_MS)
"""No event has an earlier time."""

_APPID: Final = re.compile(APPID_PATTERN)


def read_event(value: bytes, *, now_ms: int | None) -> AnyEvent | Rejection:
    """Read one event from its JSON bytes.

    Args:
        value: the record's value.
        now_ms: when the record arrived (the broker's time); None offline, where it arrives at its event time.
    """
    if len(value) > VALUE_BYTES_MAX:
        return Rejection("too_large", f"The event is larger than {VALUE_BYTES_MAX} bytes.")
    try:
        # The decoder skips over what is unknown without looking at its encoding.
        if not value.isascii():
            value.decode()
        event: AnyEvent = decoder.decode(value)
    except UnicodeDecodeError as error:
        return Rejection("not_utf8", f"The event is not UTF-8 text: byte {error.start} can't be decoded.")
    except msgspec.ValidationError as error:
        return _invalid(str(error))
    except (msgspec.DecodeError, RecursionError) as error:
        return Rejection("not_json", f"The event is not a JSON object: {error}.")
    return _implausible(event, latest_time(now_ms)) or event


def read_record(key: bytes | None, value: bytes | None, *, now_ms: int | None) -> AnyEvent | Rejection:
    """Read one record of `phone-events`, whose key must be its event's subject."""
    if value is None:
        return Rejection("not_json", "The record has no value; an event is a JSON object.")
    event = read_event(value, now_ms=now_ms)
    if isinstance(event, Rejection):
        return event
    if not key:
        return Rejection(
            "key_missing", f"The record has no key; its key must be its subject {event.subject!r}."
        )
    if key != event.subject.encode():
        shown = key[:64].decode(errors="backslashreplace")
        return Rejection("key_mismatch", f"The record's key {shown!r} is not its subject {event.subject!r}.")
    return event


def _implausible(event: AnyEvent, latest: datetime) -> Rejection | None:
    if not is_appid(event.subject):
        return Rejection(
            "invalid_field",
            "subject: expected an appid, which is 1 to 64 letters, digits, hyphens or underscores.",
        )
    if not EARLIEST <= event.time <= latest:
        return _out_of_range("time", event.time, latest)
    for path, text in _texts(event):
        if looks_like_phone_number(text):
            return Rejection("phone_number", f"{path} looks like a phone number; {PERSON_ADVICE}")
    if isinstance(event, Purchased):
        return _implausible_purchase(event.data, latest)
    return None


def _texts(event: AnyEvent) -> Iterator[tuple[str, str]]:
    """What an event says in words of its own, with the place of each."""
    yield from (("id", event.id), ("source", event.source), ("subject", event.subject))
    data = getattr(event, "data", None)
    for name in getattr(data, "__struct_fields__", ()):
        text = getattr(data, name)
        if isinstance(text, str) and name not in PLATFORM_NAMES:
            yield f"data.{name}", text


def is_appid(subject: str) -> bool:
    """Whether a subject is well formed; asked once per app and batch, not by the decoder at every event."""
    return _APPID.fullmatch(subject) is not None


@lru_cache(maxsize=1024)
def latest_time(now_ms: int | None) -> datetime:
    """The latest time that an event may have which arrived then; cached, as many arrive at once."""
    return from_ms(LATEST_MS if now_ms is None else min(LATEST_MS, now_ms + CLOCK_SKEW_MS))


def _implausible_purchase(data: PurchaseData, latest: datetime) -> Rejection | None:
    if not EARLIEST <= data.paid_at <= latest:
        return _out_of_range("data.paid_at", data.paid_at, latest)
    if data.starts_at is not None and not EARLIEST <= data.starts_at <= latest_time(None):
        return _out_of_range("data.starts_at", data.starts_at, latest_time(None))
    return None


def _out_of_range(field: str, moment: datetime, latest: datetime) -> Rejection:
    """The moment is shown as it was given: near the years 1 and 9999 it need not exist in UTC."""
    return Rejection(
        "time_out_of_range",
        f"{field} {moment.isoformat()} is outside {EARLIEST.isoformat()} to {latest.isoformat()}.",
    )


PHONE_NUMBER_DIGITS: Final = 11
PHONE_NUMBER_WRITTEN_MAX: Final = 28
"""Characters: `(0086) 138-0013-8000` with room to spare."""

PLATFORM_NAMES: Final = frozenset({"pack_id", "order_id"})
"""Identifiers that the platform issues: eleven digits there are an order and no phone."""

PERSON_ADVICE: Final = "leave it out, or send a keyed hash of the user as data.client."

_PUNCTUATION: Final = re.compile(r"[\s().+-]")
_PHONE_NUMBER: Final = re.compile(r"(?:(?:00)?86)?1[3-9][0-9]{9}")


def is_no_phone_number(text: str) -> bool:
    """Whether a text can't be a phone number at first sight: it is of another length, or has a letter."""
    return (
        text.islower()
        or not PHONE_NUMBER_DIGITS <= len(text) <= PHONE_NUMBER_WRITTEN_MAX
        or (text.isascii() and text.isalnum() and not text.isdecimal())
    )


def looks_like_phone_number(text: str) -> bool:
    """Whether a text has the form of a Chinese mobile number, however it is punctuated and in any digits."""
    if not PHONE_NUMBER_DIGITS <= len(text) <= PHONE_NUMBER_WRITTEN_MAX:
        return False
    if not text.isascii():
        text = "".join(str(digit(character, character)) for character in normalize("NFKC", text))
    return _PHONE_NUMBER.fullmatch(_PUNCTUATION.sub("", text)) is not None


def _invalid(problem: str) -> Rejection:
    if problem.endswith("at `$.type`"):
        return Rejection("unknown_type", f"{_placed(problem)}; known types are {', '.join(EVENT_TYPES)}.")
    if problem.endswith("missing required field `type`"):
        return Rejection("invalid_field", "The event has no `type`.")
    if problem.endswith("at `$.data.capability`"):
        return Rejection("invalid_field", f"{_placed(problem)}; it is {' or '.join(CAPABILITIES)}.")
    return Rejection("invalid_field", f"{_placed(problem)}.")


def _placed(problem: str) -> str:
    """A problem as msgspec tells it, with the field in front, where people look for it."""
    what, _, where = _shortened(problem).rpartition(" - at `$.")
    return f"{where.removesuffix('`')}: {what[0].lower()}{what[1:]}" if what else where


def _shortened(problem: str) -> str:
    """A problem may quote the value that it is about."""
    if len(problem) <= 2 * QUOTED_CHARACTERS_MAX:
        return problem
    return f"{problem[:QUOTED_CHARACTERS_MAX]}...{problem[-QUOTED_CHARACTERS_MAX:]}"
