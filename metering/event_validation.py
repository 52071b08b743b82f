"""Validation of one event or record: the event, or a rejection with its reason."""

import re
from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from typing import Final

import msgspec
from msgspec import Struct

from metering.content_modes import EventFormatError, normalized_event
from metering.duplicate_keys import has_unique_keys
from metering.events import (
    APPID_PATTERN,
    CAPABILITIES,
    EVENT_TYPES,
    VALUE_BYTES_MAX,
    AnyEvent,
    AssignmentData,
    Authorization,
    ChangedFields,
    ChargeNoticeData,
    ChargeNoticeRequested,
    ClockTicked,
    Corrected,
    CorrectionData,
    Migrated,
    Purchased,
    PurchaseData,
    Registered,
    RoutingSet,
    Settled,
    SettlementData,
)
from metering.exemption import unknown_owner_type
from metering.forbidden_fields import forbidden_field_in
from metering.personal_identifiers import (
    CLIENT_CHARACTERS,
    IDENTIFIER_ADVICE,
    identifier_problem,
    is_client,
    mask_identifiers,
)
from metering.placement import ANYWHERE, PartitionIndex, partition_of
from metering.rejections import Rejection
from metering.routing_policy import RoutingChoices
from metering.times import CLOCK_SKEW_MS, EARLIEST_MS, LATEST_MS, from_ms

QUOTED_CHARACTERS_MAX: Final = 100
"""Limit of what a sentence quotes of an event."""

decoder: Final = msgspec.json.Decoder(AnyEvent)
"""Decodes events; `read_event` checks them further."""

EARLIEST: Final = from_ms(EARLIEST_MS)
"""No event has an earlier time."""

_APPID: Final = re.compile(APPID_PATTERN)


def read_event(value: bytes, *, now_ms: int | None) -> AnyEvent | Rejection:
    """Read one event from its JSON bytes.

    `now_ms` is the broker's time of the record; None offline, where it arrives at its event time.
    """
    if len(value) > VALUE_BYTES_MAX:
        return Rejection("too_large", f"The event is larger than {VALUE_BYTES_MAX} bytes.")
    try:
        # The decoder skips unknown fields without a check of their encoding.
        if not value.isascii():
            value.decode()
        event, plain = _decoded(value)
    except EventFormatError as error:
        return Rejection(error.reason, str(error))
    except UnicodeDecodeError as error:
        return Rejection("not_utf8", f"The event is not UTF-8 text: byte {error.start} can't be decoded.")
    except msgspec.ValidationError as error:
        # The message may quote the event, and the sentence is stored in the ledger.
        return _invalid(mask_identifiers(str(error)))
    except (msgspec.DecodeError, RecursionError) as error:
        return Rejection("not_json", f"The event is not a JSON object: {error}.")
    forbidden = None if plain else _forbidden_field(value)
    return _implausible(event, latest_time(now_ms)) or forbidden or event


def _decoded(value: bytes) -> tuple[AnyEvent, bool]:
    """Decode an event; the flag is True if it surely has no field with a forbidden name."""
    event: AnyEvent
    try:
        event = decoder.decode(value)
    except msgspec.ValidationError:
        normal = normalized_event(value)
        if normal is value:
            raise
        return decoder.decode(normal), False
    plain = isinstance(event, Authorization) and has_unique_keys(value, event)
    if not plain:
        normalized_event(value)
    return event, plain


def _forbidden_field(value: bytes) -> Rejection | None:
    """The rejection of an event with a field of a forbidden name."""
    place = forbidden_field_in(value)
    if place is None and b"data_base64" in value:
        place = forbidden_field_in(normalized_event(value))
    if place is None:
        return None
    return Rejection("phone_number", f"{mask_identifiers(place)} may not enter; {IDENTIFIER_ADVICE}.")


def read_record(
    key: bytes | None, value: bytes | None, *, now_ms: int | None, at: PartitionIndex = ANYWHERE
) -> AnyEvent | Rejection:
    """Read one record of `phone-events`: its key must be its event's subject and belong to the partition.

    Clock ticks may be in any partition.
    """
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
        shown = mask_identifiers(key[:64].decode(errors="backslashreplace"))
        return Rejection("key_mismatch", f"The record's key {shown!r} is not its subject {event.subject!r}.")
    if not isinstance(event, ClockTicked) and not at.has(key):
        return Rejection(
            "wrong_partition",
            f"The record is in partition {at.partition}, but by Kafka's default partitioner (murmur2) "
            f"its key {event.subject!r} belongs to {partition_of(key, at.partitions)} of {at.partitions}; "
            f"set the partitioner of the client behind source {event.source!r}.",
            event.source,
        )
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
        person = identifier_problem(path, text)
        if person is not None:
            return Rejection("phone_number", person)
    if isinstance(event, Authorization) and not is_client(event.data.client):
        return Rejection(
            "invalid_field",
            f"data.client: expected a keyed hash of the user, which is one word of {CLIENT_CHARACTERS}.",
        )
    return _implausible_data(event, latest)


def _implausible_data(event: AnyEvent, latest: datetime) -> Rejection | None:
    if isinstance(event, Registered):
        return _implausible_owner(event.data.entity_type)
    if isinstance(event, Migrated):
        return _implausible_migration(event)
    if isinstance(event, Corrected):
        return _implausible_correction(event.data, latest)
    if isinstance(event, RoutingSet):
        return _implausible_routing(event.data)
    if isinstance(event, ChargeNoticeRequested):
        return _implausible_notice(event.data)
    return _implausible_purchase(event.data, latest) if isinstance(event, Purchased) else None


def _implausible_migration(event: Migrated) -> Rejection | None:
    to = event.data.to
    if is_appid(to) and to != event.subject:
        return None
    return Rejection("invalid_field", "data.to: expected the appid of another app, which has what it held.")


def _implausible_routing(data: RoutingChoices) -> Rejection | None:
    stores = [budget.store for budget in data.store_budgets or ()]
    if len(set(stores)) == len(stores):
        return None
    return Rejection(
        "invalid_field", "data.store_budgets: expected each store once; an empty one is the rest."
    )


def _implausible_notice(data: ChargeNoticeData) -> Rejection | None:
    if data.price_min_micro_yuan > data.price_max_micro_yuan:
        return Rejection(
            "invalid_field", "data.price_min_micro_yuan: expected no more than price_max_micro_yuan."
        )
    if not EARLIEST <= data.charged_from <= latest_time(None):
        return _out_of_range("data.charged_from", data.charged_from, latest_time(None))
    return None


def _implausible_owner(entity_type: str) -> Rejection | None:
    problem = unknown_owner_type(entity_type)
    return None if problem is None else Rejection("invalid_field", problem)


def _texts(event: AnyEvent) -> Iterator[tuple[str, str]]:
    """The free texts of an event, each with its path."""
    yield from (("id", event.id), ("source", event.source), ("subject", event.subject))
    data = getattr(event, "data", None)
    for name in getattr(data, "__struct_fields__", ()):
        text = getattr(data, name)
        if isinstance(text, str):
            yield f"data.{name}", text
    if isinstance(event, Settled):
        yield from _texts_of_settlement(event.data)
    if isinstance(event, Corrected) and event.data.set is not None:
        yield from _texts_of_fields(event.data.set)
    if isinstance(event, RoutingSet):
        yield from (("data.store", budget.store) for budget in event.data.store_budgets or ())


def _texts_of_fields(fields: Struct) -> Iterator[tuple[str, str]]:
    for name in fields.__struct_fields__:
        text = getattr(fields, name)
        if isinstance(text, str):
            yield f"data.{name}", text


def _texts_of_settlement(data: SettlementData) -> Iterator[tuple[str, str]]:
    """The texts of a settlement, under the names of the fields that they were in before."""
    for terms in (*(each.pack for each in data.packs), data.owner):
        if terms is not None:
            yield from _texts_of_fields(terms)
    for move in data.moves:
        yield from (("data.scene", move.scene), ("data.store", move.store), ("data.env", move.env))
    quotas = {quota.removeprefix("pack:") for move in data.moves for quota in (move.from_, move.to)}
    yield from (
        ("data.pack_id", pack_id) for pack_id in (*quotas, *data.refunded, *data.not_refunded, *data.removed)
    )


def is_appid(subject: str) -> bool:
    """True if a subject is well formed; checked once per app and batch, unlike what the decoder checks."""
    return _APPID.fullmatch(subject) is not None


@lru_cache(maxsize=1024)
def latest_time(now_ms: int | None) -> datetime:
    """The latest time of an event that arrived at this time; cached, as many arrive at once."""
    return from_ms(LATEST_MS if now_ms is None else min(LATEST_MS, now_ms + CLOCK_SKEW_MS))


def _implausible_purchase(data: PurchaseData, latest: datetime) -> Rejection | None:
    assigned_at = data.assigned_at if isinstance(data, AssignmentData) else None
    if assigned_at is not None and not EARLIEST <= assigned_at <= latest:
        return _out_of_range("data.assigned_at", assigned_at, latest)
    if not EARLIEST <= data.paid_at <= latest:
        return _out_of_range("data.paid_at", data.paid_at, latest)
    if data.starts_at is not None and not EARLIEST <= data.starts_at <= latest_time(None):
        return _out_of_range("data.starts_at", data.starts_at, latest_time(None))
    if data.used_before > data.calls:
        return Rejection(
            "invalid_field",
            f"data.used_before: {data.used_before} calls can't have been used of a pack of {data.calls}.",
        )
    return None


def _implausible_correction(data: CorrectionData, latest: datetime) -> Rejection | None:
    fields = data.set
    if data.void == (fields is not None) or fields == ChangedFields():
        return Rejection("invalid_field", "data: expected either `void`: true, or `set` with fields in it.")
    if fields is None:
        return None
    limits = (
        ("time", latest),
        ("paid_at", latest),
        ("assigned_at", latest),
        ("starts_at", latest_time(None)),
    )
    for name, newest in limits:
        moment = getattr(fields, name)
        if moment is not None and not EARLIEST <= moment <= newest:
            return _out_of_range(f"data.set.{name}", moment, newest)
    return None if fields.entity_type is None else _implausible_owner(fields.entity_type)


def _out_of_range(field: str, moment: datetime, latest: datetime) -> Rejection:
    """Reject a time; it is shown as given, because near the years 1 and 9999 it need not exist in UTC."""
    return Rejection(
        "time_out_of_range",
        f"{field} {moment.isoformat()} is outside {EARLIEST.isoformat()} to {latest.isoformat()}.",
    )


def _invalid(problem: str) -> Rejection:
    if problem.endswith("at `$.type`"):
        return Rejection(
            "unknown_type", f"{_field_first(problem)}; known types are {', '.join(EVENT_TYPES)}."
        )
    if problem.endswith("missing required field `type`"):
        return Rejection("invalid_field", "The event has no `type`.")
    if problem.endswith("at `$.data.capability`"):
        return Rejection("invalid_field", f"{_field_first(problem)}; it is {' or '.join(CAPABILITIES)}.")
    if problem.startswith("Invalid enum value") and problem.endswith("at `$.data.calls`"):
        return Rejection("invalid_field", f"{_field_first(problem)}; an authorization is exactly one call.")
    return Rejection("invalid_field", f"{_field_first(problem)}.")


def _field_first(problem: str) -> str:
    """A message of msgspec with the field in front."""
    what, _, where = _shortened(problem).rpartition(" - at `$.")
    return f"{where.removesuffix('`')}: {what[0].lower()}{what[1:]}" if what else where


def _shortened(problem: str) -> str:
    """A message cut to a limit, as it may quote the event."""
    if len(problem) <= 2 * QUOTED_CHARACTERS_MAX:
        return problem
    return f"{problem[:QUOTED_CHARACTERS_MAX]}...{problem[-QUOTED_CHARACTERS_MAX:]}"
