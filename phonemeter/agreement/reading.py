"""Reading what the platform counted, what we did, and the events that may be evidence, from ClickHouse."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from clickhouse_driver import Client

from metering.agreement import LatePack, Observed, QuotaHistory, QuotaKey, Window
from metering.agreement_causes import LAG_MS, Cause, Evidence, NearCalls
from metering.times import DAY_MS
from phonemeter.agreement import queries
from phonemeter.errors import OperationError
from sinks.connection import rows

OBSERVATIONS_MAX: Final = 200_000
EVIDENCE_MAX: Final = 100_000

BASELINE_MS: Final = 3 * DAY_MS
"""The time before a period in which the observation is looked for that it begins with."""


class Counts(NamedTuple):
    """The counts of the platform and of ours, of an app in a period.

    Attributes:
        histories: of its quotas.
        of_events: the same without calls that were booked to follow the platform.
        near: our calls around each observation, by capability (empty: both) and moment.
        late_packs: packs whose purchase arrived late.
        from_the_start: False if there are observations before these.
        is_trial_shared: True if both capabilities have one trial quota.
    """

    histories: list[QuotaHistory]
    of_events: list[QuotaHistory]
    near: dict[tuple[str, int], NearCalls]
    late_packs: list[LatePack]
    from_the_start: bool
    is_trial_shared: bool


def newest_observation(client: Client, appid: str) -> int | None:
    """The time of the newest observation of an app; None without one."""
    ((count, newest_ms),) = rows(client, queries.NEWEST, {"appid": appid})
    return newest_ms if count else None


def policy_of(client: Client, appid: str) -> str:
    """The policy of an app on differences that stay."""
    ((policy,),) = rows(client, queries.POLICY, {"appid": appid})
    return policy or "report"


def followed_calls(client: Client, appid: str, from_ms: int, to_ms: int) -> int:
    """The calls of a period that were booked to follow the platform."""
    ((calls,),) = rows(client, queries.FOLLOWED, {"appid": appid, "from_ms": from_ms, "to_ms": to_ms})
    return int(calls)


def is_known(client: Client, appid: str) -> bool:
    """Return whether the ledger has an entry about an app."""
    return bool(rows(client, queries.KNOWN, {"appid": appid})[0][0])


def read_counts(client: Client, appid: str, from_ms: int, to_ms: int) -> Counts:
    """Read the counts of an app from some time before `from_ms`, to begin with, until `to_ms`.

    Raises:
        OperationError: they are too many.
    """
    begin_ms = max(0, from_ms - BASELINE_MS)
    asked: dict[str, object] = {
        "appid": appid,
        "from_ms": begin_ms,
        "to_ms": to_ms,
        "most": OBSERVATIONS_MAX + 1,
    }
    is_shared = rows(client, queries.SHARED, asked)[0][0] > 0
    observed: dict[QuotaKey, list[Observed]] = defaultdict(list)
    found = rows(client, queries.OBSERVED, asked)
    if len(found) > OBSERVATIONS_MAX:
        raise OperationError(
            f"There are more than {OBSERVATIONS_MAX:,} observations of this app in that time: name a day, as "
            f"in --day 2026-10-17."
        )
    for capability, pack_id, at_ms, used, size in found:
        known = observed[quota_key(capability, pack_id, is_shared=is_shared)]
        if not known or known[-1].at_ms < at_ms:
            known.append(Observed(at_ms, used, size))
    charged: dict[QuotaKey, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    counted: dict[QuotaKey, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    near: dict[tuple[str, int], NearCalls] = {}
    rounds = sorted({at_ms for _, _, at_ms, _, _ in found})
    place_of = {at_ms: place for place, at_ms in enumerate(rounds)}
    for capability, pack_id, at_ms, calls, before, after, followed in rows(client, queries.COUNTED, asked):
        quota = quota_key(capability, pack_id, is_shared=is_shared)
        counted[quota][at_ms] += calls
        charged[quota][at_ms] += calls + followed
        for of in (capability, ""):
            _add(near, of, at_ms, before, 0)
            if place_of[at_ms]:
                _add(near, of, rounds[place_of[at_ms] - 1], 0, after)
    purchases = rows(client, queries.PURCHASES, asked)
    terms = {QuotaKey(*key): (starts_ms, ends_ms) for *key, starts_ms, ends_ms, _, _ in purchases}
    late = [
        LatePack(QuotaKey(capability, pack_id), starts_ms, ends_ms, recorded_ms, event_id)
        for capability, pack_id, starts_ms, ends_ms, recorded_ms, event_id in purchases
        if recorded_ms > starts_ms + queries.LATE_MS
    ]
    histories, of_events = (
        [
            QuotaHistory(
                quota, those, calls[quota], *terms.get(quota, (_appeared(quota, those, rounds, place_of), 0))
            )
            for quota, those in observed.items()
        ]
        for calls in (charged, counted)
    )
    earliest = rows(client, queries.EARLIEST, asked)[0][0]
    from_the_start = bool(rounds) and earliest >= rounds[0]
    return Counts(histories, of_events, near, late, from_the_start, is_shared)


def read_evidence(
    client: Client, appid: str, windows: Sequence[Window], from_ms: int, to_ms: int
) -> list[Evidence]:
    """Read the events that may be evidence for some of the windows, and what has healed in the period.

    Raises:
        OperationError: they are too many.
    """
    found = list(_events(client, queries.LATE, appid, from_ms, to_ms))
    changed = [window for window in windows if window.change]
    if changed:
        first_ms = max(0, min(window.from_ms for window in changed) - LAG_MS)
        last_ms = max(window.to_ms for window in changed) + LAG_MS
        more_there = any(window.change > 0 for window in changed)
        more_here = any(window.change < 0 for window in changed)
        causes = (queries.FAILED, queries.NOT_CHARGED) * more_there + (queries.DOUBTFUL,) * more_here
        for query in causes:
            found += _events(client, query, appid, first_ms, last_ms)
    return found


def _events(client: Client, query: str, appid: str, from_ms: int, to_ms: int) -> Iterator[Evidence]:
    asked = {"appid": appid, "from_ms": from_ms, "to_ms": to_ms, "most": EVIDENCE_MAX + 1}
    found = rows(client, query, asked)
    if len(found) > EVIDENCE_MAX:
        raise OperationError(
            f"More than {EVIDENCE_MAX:,} events may explain differences of this app in that time: name one, "
            f"as in --day 2026-10-17."
        )
    for causes, capability, time_ms, event_id in found:
        yield Evidence(_causes(causes), capability, time_ms, event_id)


def _causes(text: str) -> tuple[Cause, ...]:
    return tuple(text.split(","))  # type: ignore[arg-type]  # the queries name causes only


def quota_key(capability: str, pack_id: str, *, is_shared: bool) -> QuotaKey:
    """The quota of a pack id, which is empty for the trial quota; that may be shared by both capabilities."""
    return QuotaKey("" if is_shared and not pack_id else capability, pack_id)


def _appeared(
    quota: QuotaKey, observed: Sequence[Observed], rounds: Sequence[int], place_of: Mapping[int, int]
) -> int | None:
    """The observation before the first one of a pack without a purchase: it did not exist by then."""
    place = place_of.get(observed[0].at_ms, 0)
    return rounds[place - 1] if quota.pack_id and place else None


def _add(
    near: dict[tuple[str, int], NearCalls], capability: str, at_ms: int, before: int, after: int
) -> None:
    known = near.get((capability, at_ms), NearCalls())
    near[capability, at_ms] = NearCalls(known.before + before, known.after + after)
