"""A simulated month is reconciled: every injected cause is found, and none is invented (rule 17)."""

import pytest

from phonemeter.agreement.report import AgreementReport, CauseReport, read_agreement
from tests.conftest import RunningEngine
from tests.metering.building import APP, HOUR_MS
from tests.phonemeter.agreement.month import MORE_HERE, MORE_THERE, Month, MonthMaker
from tests.phonemeter.cli.storing import stored

SEEDS = (1, 35, 103)
PURCHASES = {"bought-late", "bought-short"}

Reconciled = tuple[Month, AgreementReport]


@pytest.fixture(scope="module", params=SEEDS)
def reconciled(request: pytest.FixtureRequest, engine: RunningEngine) -> Reconciled:
    """A month and its reconciliation by the real engine."""
    month = MonthMaker(request.param).month()
    url = stored(engine.url(f"month_{request.param}"), month.entries)
    return month, read_agreement(url, APP, None)


def by_cause(report: AgreementReport) -> dict[str, CauseReport]:
    found = {"/".join(cause.causes): cause for cause in report.causes}
    assert len(found) == len(report.causes)
    return found


def events_of(report: AgreementReport, cause: str) -> set[str]:
    found = by_cause(report)
    return set(found[cause].events) if cause in found else set()


def test_no_cause_is_named_that_was_not_injected(reconciled: Reconciled) -> None:
    _, report = reconciled
    lasting = {"lag", "late_event", "late_purchase", "no_pack_here", *MORE_THERE, *MORE_HERE}
    assert set(by_cause(report)) <= lasting


def test_causes_with_events_are_found_call_for_call(reconciled: Reconciled) -> None:
    month, report = reconciled
    found = by_cause(report)
    for cause in {*MORE_THERE, *MORE_HERE} - {"lost_callback"}:
        assert month.events[cause] <= events_of(report, cause)
        assert found[cause].effect == month.calls[cause] * (1 if cause in MORE_THERE else -1)
        # Two slots that no observation parts may have an event that could be one of them.
        assert 0 < found[cause].calls <= found[cause].events_total <= found[cause].calls + 2


def test_lost_callbacks_are_what_no_event_explains(reconciled: Reconciled) -> None:
    month, report = reconciled
    lost = by_cause(report)["lost_callback"]
    assert (lost.effect, lost.events_total) == (month.calls["lost_callback"], 0)
    assert lost.effect > 0


def test_a_pack_that_nobody_recorded_explains_the_calls_that_are_uncovered_here(
    reconciled: Reconciled,
) -> None:
    month, report = reconciled
    found = by_cause(report)["no_pack_here"]
    uncovered = {entry.event_id for entry in month.entries if entry.kind == "uncovered" and entry.calls > 0}
    uncovered -= {entry.event_id for entry in month.entries if entry.reason == "taken_over"}
    assert set(found.events) == uncovered
    assert uncovered <= month.events["untold"]
    assert found.effect == found.calls == len(uncovered)


def test_packs_that_were_recorded_late_are_told_and_leave_no_difference(reconciled: Reconciled) -> None:
    month, report = reconciled
    found = by_cause(report)["late_purchase"]
    taken_over = {
        e.event_id: e.recorded_at_ms - e.time_ms
        for e in month.entries
        if e.kind == "charge" and e.reason == "taken_over"
    }
    assert found.effect == 0
    assert set(found.events) - PURCHASES <= set(taken_over)
    # Those of the hour before the purchase were observed when it had been recorded.
    assert all(taken_over[event] <= HOUR_MS for event in set(taken_over) - set(found.events))
    # The one that expires first was used there from the start, and another one here.
    assert set(found.events) & PURCHASES == {"bought-short"}
    assert 0 <= found.calls - len(set(found.events) - PURCHASES) <= len(month.events["short"])


def test_what_arrived_late_or_was_counted_a_moment_apart_is_no_difference(reconciled: Reconciled) -> None:
    month, report = reconciled
    found = by_cause(report)
    charged = {e.event_id for e in month.entries if e.kind in {"charge", "trial_charge"} and e.reason == ""}
    assert events_of(report, "late_event") == month.events["late_event"] & charged
    assert found["lag"].effect == 0
    assert 0 < found["lag"].calls <= month.calls["lag"] + month.calls["lag, untold"]


def test_the_causes_add_up_to_the_difference(reconciled: Reconciled) -> None:
    month, report = reconciled
    assert report.change == month.difference == sum(cause.effect for cause in report.causes)
    assert report.change == sum(quota.difference for quota in report.quotas)
