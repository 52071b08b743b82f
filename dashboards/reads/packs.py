"""The packs of an app, in consumption order."""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, NamedTuple

from msgspec import Meta, Struct

from dashboards.reads.asking import Ask, iso
from metering.events import Capability
from metering.times import parse_time, to_ms

PackStatus = Literal["pending", "active", "exhausted", "expired", "lapsed", "refunded"]

# The consumption order is a total order: expiry, then start, then id (rule 5).
_PACKS: Final = """
WITH assumeNotNull((SELECT now FROM clock)) AS at
SELECT
    capability, pack_id, status, if(is_open, place, NULL) AS burns, calls, used_before, charged, lapsed,
    refunded, remaining, starts_at, expires_at, amount_micro_yuan, order_id, price_micro_yuan, validity_days,
    paid_at, changes
FROM
(
    SELECT
        *,
        status IN ('active', 'pending') AS is_open,
        countIf(is_open) OVER (
            PARTITION BY capability ORDER BY expires_at, starts_at, pack_id ROWS UNBOUNDED PRECEDING
        ) AS place,
        minIf(if(starts_at > at, starts_at, expires_at), expires_at > at) OVER () AS changes
    FROM packs
    WHERE appid = %(appid)s
)
WHERE (%(of)s = '' OR capability = %(of)s) AND (%(status)s = '' OR status = %(status)s)
    AND (
        toString(capability), toUnixTimestamp64Milli(expires_at), toUnixTimestamp64Milli(starts_at), pack_id
    ) > (%(after_capability)s, %(after_expires_ms)s, %(after_starts_ms)s, %(after_pack)s)
ORDER BY capability, expires_at, starts_at, pack_id
LIMIT %(most)s
"""

BEFORE_PACKS: Final = ("", 0, 0, "")
ALL_PACKS: Final = 1_000_000


class PackBalance(Struct, frozen=True, kw_only=True):
    """One pack. `burns` is its place in the consumption order; null if it cannot be used.

    Always `calls = used_before + charged + lapsed + refunded + remaining`. An expired pack may have
    `remaining` calls: late events may use them until it lapses.
    """

    pack_id: str
    status: PackStatus
    burns: int | None
    calls: int
    used_before: int
    charged: int
    lapsed: int
    refunded: int
    remaining: int
    starts_at: str
    expires_at: str
    amount_micro_yuan: Annotated[
        int, Meta(description="Cost of the calls taken from it, in millionths of a yuan")
    ]


class BoughtPack(PackBalance, frozen=True, kw_only=True):
    """A pack with its capability and its terms."""

    capability: Capability
    order_id: str
    validity_days: int
    price_micro_yuan: Annotated[int, Meta(description="Its price, in millionths of a yuan")]
    paid_at: str


class FoundPacks(NamedTuple):
    """Packs, and when the clock alone changes the next that the app has; None if never.

    It is 0 where none of what was asked for was found: then it is not known.
    """

    packs: list[BoughtPack]
    changes_ms: int | None


def read_packs(
    ask: Ask,
    appid: str,
    *,
    capability: str = "",
    status: str = "",
    after: Sequence[Any] = BEFORE_PACKS,
    most: int = ALL_PACKS,
) -> FoundPacks:
    """The packs of an app behind a place in the order, at most so many."""
    of, expires_ms, starts_ms, pack_id = after
    found = ask(
        _PACKS,
        {
            "appid": appid,
            "of": capability,
            "status": status,
            "after_capability": of,
            "after_expires_ms": expires_ms,
            "after_starts_ms": starts_ms,
            "after_pack": pack_id,
            "most": most,
        },
    )
    if not found:
        asked_all = not capability and not status and tuple(after) == BEFORE_PACKS
        return FoundPacks([], None if asked_all else 0)
    return FoundPacks([_pack(row) for row in found], to_ms(found[0][-1]) or None)


def place_of(pack: BoughtPack) -> tuple[str, int, int, str]:
    """The place of a pack in the order."""
    return pack.capability, parse_time(pack.expires_at), parse_time(pack.starts_at), pack.pack_id


def _pack(row: tuple[Any, ...]) -> BoughtPack:
    (of, pack_id, status, burns, calls, used_before, charged, lapsed, refunded, remaining, *rest) = row
    starts_at, expires_at, amount, order_id, price, validity_days, paid_at, _ = rest
    return BoughtPack(
        capability=of,
        pack_id=pack_id,
        status=status,
        burns=burns,
        calls=calls,
        used_before=used_before,
        charged=charged,
        lapsed=lapsed,
        refunded=refunded,
        remaining=remaining,
        starts_at=iso(starts_at),
        expires_at=iso(expires_at),
        amount_micro_yuan=amount,
        order_id=order_id,
        validity_days=validity_days,
        price_micro_yuan=price,
        paid_at=iso(paid_at),
    )
