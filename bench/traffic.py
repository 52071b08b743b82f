"""The input of the benchmarks: seeded events of many apps with a skew, each app with some packs."""

import json
import random
from bisect import bisect
from collections.abc import Iterator, Sequence
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


def events(
    taps: int, apps: int = APPS, seed: int = SEED, *, packs: Packs = PACKS, skew: float = SKEW
) -> Iterator[Event]:
    """The purchases of every app, then `taps` taps, one in a hundred a repetition of a recent one."""
    chance = random.Random(seed)  # noqa: S311 - a seed that replays is the point
    appids = [f"wx{chance.getrandbits(64):016x}" for _ in range(apps)]
    for appid in appids:
        yield from _purchases(appid, packs)
    shares = list(accumulate((rank + 1) ** -skew for rank in range(apps)))
    recent: list[Event] = []
    for number in range(taps):
        if recent and chance.random() < REPEATED_SHARE:
            event = chance.choice(recent)
        else:
            event = _tap(appids[bisect(shares, chance.random() * shares[-1])], chance.getrandbits(128))
        if len(recent) < REPEATED_AMONG:
            recent.append(event)
        else:
            recent[number % REPEATED_AMONG] = event
        yield event


def _purchases(appid: str, packs: Packs) -> Iterator[Event]:
    for number, (calls, days) in enumerate(packs):
        value = {
            "specversion": "1.0",
            "id": f"purchase-{appid}-{number}",
            "source": "/bench",
            "type": "pack.purchased",
            "subject": appid,
            "time": BOUGHT_AT,
            "data": {
                "pack_id": f"pack-{number}-{appid}",
                "capability": "quick",
                "calls": calls,
                "validity_days": days,
                "price_micro_yuan": calls * 30_000,
                "paid_at": BOUGHT_AT,
            },
        }
        yield appid.encode(), json.dumps(value).encode()


def _tap(appid: str, number: int) -> Event:
    value = (
        f'{{"specversion":"1.0","id":"{number:032x}","source":"/backend/1",'
        f'"type":"phone.authorization.succeeded","time":"{TAPPED_AT}","subject":"{appid}",'
        '"data":{"capability":"quick","scene":"member_card"}}'
    )
    return appid.encode(), value.encode()
