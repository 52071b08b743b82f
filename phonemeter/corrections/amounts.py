"""The amounts of an app that a correction may change, and what a settlement makes of them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal

from clickhouse_driver import Client
from msgspec import Struct
from msgspec.structs import replace

from metering.events import CAPABILITIES, PackTerms, SettlementData
from metering.packs import Pack
from metering.rules import Rules
from metering.settlement_changes import PACK
from sinks.connection import rows

Figure = Literal[
    "calls",
    "uncovered",
    "exempt",
    "cost_micro_yuan",
    "trial_left",
    "pack_calls",
    "pack_left",
    "pack_refunded",
]

_PACK_FIGURES: Final[tuple[Figure, ...]] = ("pack_calls", "pack_left", "pack_refunded")

_USE: Final = """
SELECT toString(capability), sum(succeeded), sum(uncovered), sum(exempt), sum(amount_micro_yuan)
FROM usage_monthly_by_app WHERE appid = %(appid)s GROUP BY capability
"""
_TRIALS: Final = """
SELECT if(trial_shared, '', capability), trial_remaining
FROM balances_now WHERE appid = %(appid)s AND trial_size > 0
"""
_PACKS: Final = """
SELECT
    pack_id, toString(capability), packs.calls, price_micro_yuan, toUnixTimestamp64Milli(expires_at),
    used_before, charged, remaining, status = 'refunded'
FROM packs WHERE appid = %(appid)s
"""
_NOW: Final = "SELECT toUnixTimestamp64Milli(now) FROM clock"


class CapabilityAmounts(Struct, frozen=True):
    """The calls of a capability, how many of them were uncovered or exempt, and what all of them cost."""

    calls: int = 0
    uncovered: int = 0
    exempt: int = 0
    cost_micro_yuan: int = 0


class PackAmounts(Struct, frozen=True):
    """A pack: its terms, what was taken from it and what it holds."""

    capability: str
    calls: int
    price_micro_yuan: int
    expires_at_ms: int
    used_before: int
    charged: int
    left: int
    is_refunded: bool

    @property
    def cost_micro_yuan(self) -> int:
        """The cost of the calls that were charged (rule 11)."""
        return self._cost(self.used_before + self.charged) - self._cost(self.used_before)

    def _cost(self, calls: int) -> int:
        return self.price_micro_yuan * calls // self.calls


class AppAmounts(Struct, frozen=True):
    """The figures of an app.

    Attributes:
        uses: by capability.
        trials: calls left of the shared trial quota, under the empty name, or of each capability's.
        packs: by id.
        now_ms: as of when packs hold calls.
    """

    uses: dict[str, CapabilityAmounts]
    trials: dict[str, int]
    packs: dict[str, PackAmounts]
    now_ms: int


class Change(Struct, frozen=True):
    """A figure that changes; None where there is no such pack."""

    figure: Figure
    capability: str
    pack_id: str
    before: int | None
    after: int | None


def read_amounts(client: Client, appid: str) -> AppAmounts:
    """The figures of an app now.

    Raises:
        clickhouse_driver.errors.Error, OSError, EOFError: ClickHouse is away or refuses.
    """
    where: dict[str, object] = {"appid": appid}
    return AppAmounts(
        dict.fromkeys(map(str, CAPABILITIES), CapabilityAmounts())
        | {row[0]: CapabilityAmounts(*row[1:]) for row in rows(client, _USE, where)},
        dict(rows(client, _TRIALS, where)),
        {row[0]: PackAmounts(*row[1:]) for row in rows(client, _PACKS, where)},
        rows(client, _NOW)[0][0],
    )


def settled(figures: AppAmounts, parts: Sequence[SettlementData], rules: Rules) -> AppAmounts:
    """The figures after a settlement of these parts."""
    moved: Counter[tuple[str, str]] = Counter()
    for part in parts:
        for move in part.moves:
            moved[move.capability, move.from_] -= move.calls
            moved[move.capability, move.to] += move.calls
    packs = _packs(figures, parts, moved, rules)
    uses = {
        capability: CapabilityAmounts(
            use.calls - moved[capability, "corrected"],
            use.uncovered + moved[capability, "uncovered"],
            use.exempt + moved[capability, "exempt"],
            use.cost_micro_yuan
            + _cost(packs.values(), capability)
            - _cost(figures.packs.values(), capability),
        )
        for capability, use in figures.uses.items()
    }
    trials = {
        quota: left - sum(moved[name, "trial"] for name in CAPABILITIES if quota in {"", name})
        for quota, left in figures.trials.items()
    }
    return replace(figures, uses=uses, trials=trials, packs=packs)


def changes(before: AppAmounts, after: AppAmounts) -> list[Change]:
    """The figures that differ, by capability, then by pack."""
    return [change for change in _compared(before, after) if change.before != change.after]


def _compared(before: AppAmounts, after: AppAmounts) -> Iterator[Change]:
    for capability, use in before.uses.items():
        then = after.uses[capability]
        yield Change("calls", capability, "", use.calls, then.calls)
        yield Change("uncovered", capability, "", use.uncovered, then.uncovered)
        yield Change("exempt", capability, "", use.exempt, then.exempt)
        yield Change("cost_micro_yuan", capability, "", use.cost_micro_yuan, then.cost_micro_yuan)
    for quota, left in before.trials.items():
        yield Change("trial_left", quota, "", left, after.trials[quota])
    for pack_id in sorted(before.packs.keys() | after.packs.keys()):
        yield from _compared_pack(pack_id, before.packs.get(pack_id), after.packs.get(pack_id))


def _compared_pack(pack_id: str, old: PackAmounts | None, new: PackAmounts | None) -> Iterator[Change]:
    if old is not None and new is not None and old.capability != new.capability:
        yield from _compared_pack(pack_id, old, None)
        yield from _compared_pack(pack_id, None, new)
        return
    for pack in (new, old):
        if pack is not None:
            for figure in _PACK_FIGURES:
                yield Change(figure, pack.capability, pack_id, _of_pack(old, figure), _of_pack(new, figure))
            return


def _of_pack(pack: PackAmounts | None, figure: Figure) -> int | None:
    if pack is None:
        return None
    return {"pack_calls": pack.calls, "pack_left": pack.left, "pack_refunded": int(pack.is_refunded)}[figure]


def _packs(
    figures: AppAmounts, parts: Sequence[SettlementData], moved: Counter[tuple[str, str]], rules: Rules
) -> dict[str, PackAmounts]:
    packs = dict(figures.packs)
    for part in parts:
        for pack_id in part.removed:
            packs.pop(pack_id, None)
        for terms in part.packs:
            packs[terms.pack.pack_id] = _bought(terms, packs.get(terms.pack.pack_id), rules)
        for pack_id in (*part.refunded, *part.not_refunded):
            packs[pack_id] = replace(packs[pack_id], is_refunded=pack_id in part.refunded)
    return {
        pack_id: _with_calls(
            pack,
            pack.charged + sum(moved[name, PACK + pack_id] for name in CAPABILITIES),
            figures.now_ms,
            rules,
        )
        for pack_id, pack in packs.items()
    }


def _bought(terms: PackTerms, before: PackAmounts | None, rules: Rules) -> PackAmounts:
    """A pack with other terms, still with the calls that are taken from it now."""
    pack = Pack.bought(terms.pack, terms.pack.assigned_at or terms.pack.paid_at, rules)
    return PackAmounts(
        terms.pack.capability,
        pack.calls,
        pack.price_micro_yuan,
        pack.expires_at_ms,
        terms.pack.used_before,
        0 if before is None else before.charged,
        left=0,
        is_refunded=False,
    )


def _with_calls(pack: PackAmounts, charged: int, now_ms: int, rules: Rules) -> PackAmounts:
    has_ended = pack.is_refunded or pack.expires_at_ms + rules.allowed_lateness_ms <= now_ms
    left = 0 if has_ended else pack.calls - pack.used_before - charged
    return replace(pack, charged=charged, left=left)


def _cost(packs: Iterable[PackAmounts], capability: str) -> int:
    return sum(pack.cost_micro_yuan for pack in packs if pack.capability == capability)
