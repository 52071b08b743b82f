"""Builders of records of `phone-events`, as producers publish them."""

import json
from collections.abc import Sequence

from metering.records import Record
from metering.times import format_time

START_MS = 1_790_000_000_000
APPS = ("wxaaaaaaaaaaaaaaaa", "wxbbbbbbbbbbbbbbbb", "wxcccccccccccccccc")


def record(offset: int, appid: str, kind: str, time_ms: int, event_id: str, **data: object) -> Record:
    """One record that arrived a second after its event's time."""
    value = {
        "specversion": "1.0",
        "id": event_id,
        "source": "/tests",
        "type": kind,
        "subject": appid,
        "time": format_time(time_ms),
        "data": data,
    }
    return Record(offset, time_ms + 1_000, appid.encode(), json.dumps(value).encode())


def tap(offset: int, appid: str = APPS[0], event_id: str | None = None, time_ms: int | None = None) -> Record:
    """A succeeded authorization, a minute after the one before."""
    return record(
        offset,
        appid,
        "phone.authorization.succeeded",
        START_MS + offset * 60_000 if time_ms is None else time_ms,
        event_id or f"tap-{offset}",
        capability="quick",
        scene="signup",
    )


def purchase(offset: int, appid: str = APPS[0], calls: int = 5) -> Record:
    """A pack purchased at the time of the record, for one yuan per call."""
    time_ms = START_MS + offset * 60_000
    return record(
        offset,
        appid,
        "pack.purchased",
        time_ms,
        f"purchase-{offset}",
        pack_id=f"pack-{offset}",
        capability="quick",
        calls=calls,
        validity_days=90,
        price_micro_yuan=calls * 1_000_000 + 1,
        paid_at=format_time(time_ms),
    )


def tick(offset: int, time_ms: int) -> Record:
    """A clock tick of the partition."""
    value = {
        "specversion": "1.0",
        "id": f"tick-{offset}",
        "source": "/tests",
        "type": "clock.ticked",
        "subject": "clock",
        "time": format_time(time_ms),
    }
    return Record(offset, time_ms, b"clock", json.dumps(value).encode())


def taps(first: int, last: int) -> Sequence[Record]:
    """Taps at the offsets from `first` to before `last`, over three apps."""
    return [tap(offset, APPS[offset % len(APPS)]) for offset in range(first, last)]
