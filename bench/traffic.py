"""The input of the benchmarks: seeded events of many apps with a skew, each app with some packs."""

import json
import random
from bisect import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate

APPS = 5_000
SKEW = 1.1
REPEATED_SHARE = 0.01
REPEATED_AMONG = 10_000
PACKS = ((100, 90), (500, 180), (10_000_000, 365))
BOUGHT_AT = "2026-11-22T14:00:00.000Z"
TAPPED_AT = "2026-11-22T15:00:00.000Z"
SEED = 20261122

Event = tuple[bytes, bytes]
"""An event's key and value."""

Packs = Sequence[tuple[int, int]]
"""Of each pack of an app its calls and the days that it is valid for."""


@dataclass(frozen=True, slots=True)
class Times:
    """The times of all purchases and of all taps."""

    bought_at: str = BOUGHT_AT
    tapped_at: str = TAPPED_AT

    @staticmethod
    def around(now: datetime) -> "Times":
        """Bought some days ago, tapped now: for workers that go by the wall's clock."""
        return Times(_iso(now - timedelta(days=2)), _iso(now))


def events(
    taps: int,
    apps: int = APPS,
    seed: int = SEED,
    *,
    packs: Packs = PACKS,
    skew: float = SKEW,
    times: Times = Times(),
) -> Iterator[Event]:
    """The purchases of every app, then `taps` taps, one in a hundred a repetition of a recent one."""
    chance = random.Random(seed)  # noqa: S311 - a seed that replays is the point
    appids = _appids(chance, apps)
    for appid in appids:
        yield from purchases(appid, packs, times.bought_at)
    shares = shares_of(apps, skew)
    recent: list[Event] = []
    for number in range(taps):
        if recent and chance.random() < REPEATED_SHARE:
            event = chance.choice(recent)
        else:
            appid = appids[bisect(shares, chance.random() * shares[-1])]
            event = tap(appid, chance.getrandbits(128), times.tapped_at)
        if len(recent) < REPEATED_AMONG:
            recent.append(event)
        else:
            recent[number % REPEATED_AMONG] = event
        yield event


def appids_of(apps: int) -> list[str]:
    """The apps of `events`, the busiest first."""
    return _appids(random.Random(SEED), apps)  # noqa: S311 - a seed that replays is the point


def shares_of(apps: int, skew: float = SKEW) -> list[float]:
    """The share of all taps that the apps up to each one have together, not scaled to 1."""
    return list(accumulate((rank + 1) ** -skew for rank in range(apps)))


def purchases(appid: str, packs: Packs, bought_at: str = BOUGHT_AT) -> Iterator[Event]:
    """The purchases of an app."""
    for number, (calls, days) in enumerate(packs):
        value = {
            "specversion": "1.0",
            "id": f"purchase-{appid}-{number}",
            "source": "/bench",
            "type": "pack.purchased",
            "subject": appid,
            "time": bought_at,
            "data": {
                "pack_id": f"pack-{number}-{appid}",
                "capability": "quick",
                "calls": calls,
                "validity_days": days,
                "price_micro_yuan": calls * 30_000,
                "paid_at": bought_at,
            },
        }
        yield appid.encode(), json.dumps(value).encode()


def tap(appid: str, number: int, tapped_at: str = TAPPED_AT) -> Event:
    """One tap, its id made of a number."""
    value = (
        f'{{"specversion":"1.0","id":"{number:032x}","source":"/backend/1",'
        f'"type":"phone.authorization.succeeded","time":"{tapped_at}","subject":"{appid}",'
        '"data":{"capability":"quick","scene":"member_card"}}'
    )
    return appid.encode(), value.encode()


def _appids(chance: random.Random, apps: int) -> list[str]:
    return [f"wx{chance.getrandbits(64):016x}" for _ in range(apps)]


def _iso(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z")
