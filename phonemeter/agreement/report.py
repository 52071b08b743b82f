"""The report of an app: each quota as the platform told it last, and its differences by cause."""

from collections import defaultdict
from typing import Final

from clickhouse_driver import Client
from msgspec import Struct

from metering.agreement import windows
from metering.agreement_causes import Cause, Finding, explain_differences
from metering.printable_text import one_line
from metering.times import DAY_MS
from phonemeter.agreement.reading import (
    Counts,
    followed_calls,
    is_known,
    newest_observation,
    policy_of,
    quota_key,
    read_counts,
    read_evidence,
)
from phonemeter.clickhouse import ledger_client, unknown_app
from phonemeter.errors import OperationError
from sinks.connection import rows

DAYS: Final = 31
"""Days that are compared where none is named."""

EVENTS_MAX: Final = 1_000
"""Events listed per cause."""

_STAYING: Final = "SELECT toString(capability), pack_id FROM agreement WHERE appid = %(appid)s AND stays"


class QuotaAgreement(Struct, frozen=True):
    """The newest observation of a quota, our count as of its time, and since when they differ so.

    Of the `charged` calls, `followed` were booked to follow the platform, and no event is behind them.
    A trial quota that both capabilities share has no `capability`. They may differ so from before the period
    on; then it is told since an observation of the three days before it.
    """

    capability: str
    pack_id: str
    observed_at_ms: int
    used: int
    size: int
    charged: int
    followed: int
    difference: int
    since_at_ms: int
    stays: bool


class CauseReport(Struct, frozen=True):
    """The calls of a cause, or of one of several.

    Attributes:
        causes: the cause; several if the evidence does not tell which.
        calls: how many they are.
        effect: calls by which the platform's count is larger; 0 for what has healed.
        from_at_ms, to_at_ms: the observations around all of them; `from_at_ms` is None before the first.
        windows: number of the pairs of observations between which they lie.
        events: ids of the events that may be evidence, at most `EVENTS_MAX`.
        events_total: their number.
    """

    causes: tuple[Cause, ...]
    calls: int
    effect: int
    from_at_ms: int | None
    to_at_ms: int
    windows: int
    events: list[str]
    events_total: int


class AgreementReport(Struct, frozen=True):
    """The agreement of an app with the platform in a period.

    Attributes:
        change: calls by which the platform's count became larger than that of events in the period, which is
            the sum of all effects.
        policy: `follow` if differences that stay are booked, otherwise `report`.
        followed: calls of the period that were booked so, less those that were given back.
    """

    appid: str
    from_at_ms: int
    to_at_ms: int
    change: int
    policy: str
    followed: int
    quotas: list[QuotaAgreement]
    causes: list[CauseReport]


def read_agreement(url: str, appid: str, day_ms: int | None) -> AgreementReport:
    """Compare the counts of an app by the ClickHouse at `url`: of the day that begins at `day_ms`.

    Without a day, those of the last `DAYS` days up to the newest observation.

    Raises:
        OperationError: the app is unknown or was not observed, ClickHouse does not answer, or there is too
            much to compare.
    """
    with ledger_client(url) as client:
        if day_ms is not None:
            return _read(client, appid, day_ms - 1, day_ms + DAY_MS - 1)
        newest_ms = newest_observation(client, appid) or 0
        return _read(client, appid, max(0, newest_ms - DAYS * DAY_MS), newest_ms)


def _read(client: Client, appid: str, from_ms: int, to_ms: int) -> AgreementReport:
    counts = read_counts(client, appid, from_ms, to_ms)
    quotas = _quotas(client, appid, counts, from_ms)
    if not quotas and not is_known(client, appid):
        raise unknown_app(appid)
    if not quotas:
        raise OperationError(
            f"The platform's count of app {one_line(appid)} was not observed in that time: name another day, "
            f"or have it observed (docs/how-to/agreement.md)."
        )
    between = [
        window
        for window in windows(counts.of_events, counts.late_packs, from_the_start=counts.from_the_start)
        if window.to_ms > from_ms
    ]
    evidence = read_evidence(client, appid, between, from_ms, to_ms)
    findings = explain_differences(between, evidence, counts.near)
    return AgreementReport(
        appid,
        from_ms,
        to_ms,
        sum(window.change for window in between),
        policy_of(client, appid),
        followed_calls(client, appid, from_ms, to_ms),
        quotas,
        _by_cause(findings),
    )


def _quotas(client: Client, appid: str, counts: Counts, from_ms: int) -> list[QuotaAgreement]:
    """The newest observation of each quota that was observed after `from_ms`."""
    found = rows(client, _STAYING, {"appid": appid})
    staying = {quota_key(*row, is_shared=counts.is_trial_shared) for row in found}
    quotas = []
    for history, of_events in zip(counts.histories, counts.of_events, strict=True):
        newest = history.newest
        if newest.at_ms <= from_ms:
            continue
        charged = history.counted_at(newest.at_ms)
        quotas.append(
            QuotaAgreement(
                *history.quota,
                observed_at_ms=newest.at_ms,
                used=newest.used,
                size=newest.size,
                charged=charged,
                followed=charged - of_events.counted_at(newest.at_ms),
                difference=newest.used - charged,
                since_at_ms=history.same_since(),
                stays=history.quota in staying,
            )
        )
    return sorted(quotas, key=lambda one: (one.capability, one.pack_id))


def _by_cause(findings: list[Finding]) -> list[CauseReport]:
    """The findings of each cause, those with the largest effect first."""
    groups: dict[tuple[tuple[Cause, ...], bool], list[Finding]] = defaultdict(list)
    for finding in findings:
        groups[finding.causes, finding.effect != 0].append(finding)
    found = []
    for (causes, _), those in groups.items():
        events = list(dict.fromkeys(event for finding in those for event in finding.events))
        found.append(
            CauseReport(
                causes=causes,
                calls=sum(finding.calls for finding in those),
                effect=sum(finding.effect for finding in those),
                from_at_ms=min(finding.from_ms for finding in those) or None,
                to_at_ms=max(finding.to_ms for finding in those),
                windows=len({(finding.from_ms, finding.to_ms) for finding in those}),
                events=events[:EVENTS_MAX],
                events_total=len(events),
            )
        )
    return sorted(found, key=lambda one: (-abs(one.effect), -one.calls, one.causes))
