"""The plan of openings: what they would change, from the figures in ClickHouse (rule 16)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from clickhouse_driver import Client

from metering.events import CAPABILITIES, Capability
from metering.rules import Rules
from sinks.connection import rows

Verdict = Literal["opens", "waits", "does_not_fit", "counts_already", "ended", "other_capability"]

SENTENCES: Final[dict[Verdict, str]] = {
    "opens": "opens",
    "waits": "waits for its purchase",
    "does_not_fit": "no: it does not hold that many",
    "counts_already": "no: calls have been counted",
    "ended": "no: it has ended",
    "other_capability": "no: of the other capability",
}
"""The verdicts in words."""

_BALANCES: Final = """
SELECT capability, trial_size, trial_used_before, trial_remaining
FROM balances_now WHERE appid = %(appid)s AND trial_size > 0
"""
_PACKS: Final = """
SELECT pack_id, capability, status, calls, used_before, remaining FROM packs WHERE appid = %(appid)s
"""
_CALLS: Final = """
SELECT capability, sum(succeeded) FROM usage_monthly_by_app WHERE appid = %(appid)s GROUP BY capability
"""


class Count(NamedTuple):
    """A person's count of a quota: of a pack, or of the trial quota where `pack_id` is empty."""

    pack_id: str
    used: int


@dataclass(frozen=True, slots=True)
class PlannedOpening:
    """One opening: the quota before and after it; None for what is not known. Only `opens` changes it."""

    pack_id: str
    used: int
    size: int | None
    used_before: int | None
    left: int | None
    left_after: int | None
    verdict: Verdict

    @property
    def is_possible(self) -> bool:
        """True if it is worth publishing."""
        return self.verdict in {"opens", "waits"}


def plan(
    client: Client, appid: str, capability: Capability, counts: Sequence[Count], rules: Rules
) -> list[PlannedOpening]:
    """The openings that the counts would make, as far as the ledger is stored.

    Raises:
        clickhouse_driver.errors.Error, OSError, EOFError: ClickHouse is away or refuses.
    """
    where: dict[str, object] = {"appid": appid}
    trials = {row[0]: row[1:] for row in rows(client, _BALANCES, where)}
    packs = {row[0]: row[1:] for row in rows(client, _PACKS, where)}
    calls = dict.fromkeys(CAPABILITIES, 0) | dict(rows(client, _CALLS, where))
    return [
        _of_pack(count, packs.get(count.pack_id), capability, calls[capability])
        if count.pack_id
        else _of_trial(count, trials.get(capability, (rules.trial_calls, 0, rules.trial_calls)))
        for count in counts
    ]


def _of_trial(count: Count, trial: tuple[Any, ...]) -> PlannedOpening:
    size, before, left = trial
    after = left - (count.used - before)
    return _planned(count, size, before, left, after, "opens" if after >= 0 else "does_not_fit")


def _of_pack(
    count: Count, pack: tuple[Any, ...] | None, capability: Capability, calls: int
) -> PlannedOpening:
    if pack is None:
        verdict: Verdict = "counts_already" if calls else "waits"
        return _planned(count, None, None, None, None, verdict)
    of_capability, status, size, before, left = pack
    after = size - count.used
    verdict = "opens"
    if of_capability != capability:
        verdict = "other_capability"
    elif calls:
        verdict = "counts_already"
    elif status in {"lapsed", "refunded"}:
        verdict = "ended"
    elif after < 0:
        verdict = "does_not_fit"
    return _planned(count, size, before, left, after, verdict)


def _planned(
    count: Count, size: int | None, before: int | None, left: int | None, after: int | None, verdict: Verdict
) -> PlannedOpening:
    left_after = after if verdict == "opens" else left
    return PlannedOpening(count.pack_id, count.used, size, before, left, left_after, verdict)
