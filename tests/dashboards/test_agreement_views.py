"""The views on the platform's count: each difference, since when, and whether it stays (rule 17)."""

from contextlib import closing
from itertools import count
from typing import Any

from metering.ledger import Entry
from metering.times import HOUR_MS, MINUTE_MS
from phonemeter.audit.apps_summary import StayingDifference, read_summary
from sinks.settler.ledger import SettlerLedger
from tests.dashboards.conftest import Ledger
from tests.sinks.parts import START_MS, purchase

_offsets = count(10)


def observed(hours: float, used: int, *, pack_id: str = "p1") -> Entry:
    at_ms = START_MS + round(hours * HOUR_MS)
    details = f'{{"size":250,"used":{used}}}'
    return Entry(
        next(_offsets), 0, "usage_observed", at_ms, at_ms, "wx1", "quick", pack_id=pack_id, details=details
    )


def call(hours: float, *, later_ms: int = 0) -> Entry:
    at_ms = START_MS + round(hours * HOUR_MS)
    offset = next(_offsets)
    return Entry(
        offset, 0, "charge", at_ms, at_ms + later_ms, "wx1", "quick", f"call-{offset}", 1, 30_000, "p1"
    )


def shown(ledger: Ledger) -> list[tuple[int, int, float, int]]:
    found = ledger.query(
        "SELECT charged, difference, toUnixTimestamp64Milli(since), late FROM platform_usage "
        "ORDER BY observed_at"
    )
    return [(charged, gap, (since - START_MS) / HOUR_MS, late) for charged, gap, since, late in found]


def stays(ledger: Ledger) -> list[tuple[int, bool]]:
    return ledger.query("SELECT difference, stays FROM agreement")


def test_a_difference_is_told_since_the_first_observation_that_had_it(kept: Ledger) -> None:
    kept.replace(
        [purchase("wx1", "p1", 1), call(0.5), observed(1, 2), call(1.5), observed(2, 3), observed(3, 4)]
    )
    assert shown(kept) == [(1, 1, 1, 0), (2, 1, 1, 0), (2, 2, 3, 0)]


def test_a_call_that_arrives_later_counts_where_it_belongs_and_is_told_as_late(kept: Ledger) -> None:
    kept.replace([purchase("wx1", "p1", 1), call(0.5, later_ms=2 * HOUR_MS), observed(1, 1), observed(2, 1)])
    assert shown(kept) == [(1, 0, 1, 1), (1, 0, 1, 0)]


def test_a_difference_stays_when_two_observations_an_hour_apart_have_it(kept: Ledger) -> None:
    lines = [purchase("wx1", "p1", 1), observed(1, 2), observed(1.9, 2)]
    kept.replace(lines)
    assert stays(kept) == [(2, False)]
    kept.replace([*lines, observed(2, 2)])
    assert stays(kept) == [(2, True)]
    found = read_summary(kept.engine.url)
    assert (found.differing, found.differences) == (1, (StayingDifference("wx1", "quick", "p1", 2, 3_600),))
    kept.replace([*lines, observed(2, 0)])
    assert stays(kept) == [(0, False)]


def test_a_difference_does_not_stay_while_calls_are_on_their_way(kept: Ledger) -> None:
    lines = [purchase("wx1", "p1", 1), observed(1, 2), observed(3, 2)]
    kept.replace([*lines, call(0.5, later_ms=2 * HOUR_MS)])
    assert stays(kept) == [(1, False)]
    kept.replace([*lines, call(0.5, later_ms=HOUR_MS)])
    assert stays(kept) == [(1, True)]
    # What arrives within a minute is not late.
    kept.replace([*lines[:-1], observed(3, 3), call(3, later_ms=MINUTE_MS)])
    assert stays(kept) == [(2, True)]


def test_a_difference_does_not_stay_while_a_settlement_is_to_come(kept: Ledger) -> None:
    at_ms = START_MS + HOUR_MS
    late = Entry(next(_offsets), 0, "unsettled", at_ms, at_ms, "wx1", reason="late_purchase")
    kept.replace([purchase("wx1", "p1", 1), late, observed(1, 2), observed(3, 2)])
    assert stays(kept) == [(2, False)]


def test_the_difference_of_a_pack_that_has_expired_is_final(kept: Ledger) -> None:
    kept.replace([purchase("wx1", "p1", 1), observed(1, 2), observed(91 * 24, 2)])
    assert stays(kept) == [(2, False)]
    assert kept.query("SELECT ended FROM agreement") == [(True,)]


def test_a_trial_quota_of_both_capabilities_has_one_row(kept: Ledger) -> None:
    trial = Entry(1, 0, "trial_grant", START_MS, START_MS, "wx1", calls=250, remaining=250)
    seen = observed(1, 3, pack_id="")
    other = Entry(**{name: getattr(seen, name) for name in seen.__struct_fields__} | {
        "offset": seen.offset + 1_000, "capability": "realtime"
    })  # fmt: skip
    kept.replace([trial, seen, other])
    assert kept.query("SELECT pack_id, used, difference FROM agreement") == [("", 3, 3)]


def test_the_newest_observations_are_those_of_all_of_them(simulated: Ledger) -> None:
    newest = simulated.query(
        "SELECT appid, pack_id, used, charged, difference FROM platform_usage "
        "ORDER BY observed_at DESC LIMIT 1 BY appid, pack_id"
    )
    found = simulated.query("SELECT appid, pack_id, used, charged, difference FROM agreement")
    assert sorted(found) == sorted(newest)
    assert len(found) > 8


def test_what_is_not_observed_any_more_is_not_compared(kept: Ledger) -> None:
    kept.replace(
        [purchase("wx1", "p1", 1), call(0.5), observed(1, 2), call(72), observed(72.5, 3, pack_id="p2")]
    )
    assert kept.query("SELECT pack_id FROM agreement ORDER BY pack_id") == [("p1",), ("p2",)]
    kept.replace([purchase("wx1", "p1", 1), observed(1, 2), observed(74, 3, pack_id="p2")])
    assert kept.query("SELECT pack_id FROM agreement") == [("p2",)]


def test_a_difference_has_the_policy_of_its_app_and_is_none_once_it_is_booked(kept: Ledger) -> None:
    def chosen(policy: str) -> Entry:
        details = f'{{"policy":"{policy}"}}'
        return Entry(next(_offsets), 0, "agreement_set", START_MS, START_MS, "wx1", details=details)

    lines = [purchase("wx1", "p1", 1), call(0.5), observed(1, 3), observed(2, 3)]
    policies = "SELECT difference, stays, policy FROM agreement"
    kept.replace(lines)
    assert kept.query(policies) == [(2, True, "report")]
    kept.replace([*lines, chosen("report"), chosen("follow")])
    assert kept.query(policies) == [(2, True, "follow")]
    with closing(SettlerLedger(kept.engine.url)) as ledger:
        assert ledger.staying() == [("wx1", "quick", "p1", 2, START_MS + HOUR_MS)]
    lines += [chosen("follow"), *booked(1, 2)]
    kept.replace(lines)
    assert kept.query(policies) == [(0, False, "follow")]
    kept.replace([*lines, chosen("report"), observed(3, 4)])
    assert kept.query(policies) == [(1, False, "report")]


def booked(hours: float, calls: int) -> list[Entry]:
    """The pair that follows the platform."""
    at_ms, offset = START_MS + round(hours * HOUR_MS), next(_offsets)
    of: dict[str, Any] = {
        "reason": "settled", "details": '{"from":"followed","to":"pack:p1"}', "capability": "quick"
    }  # fmt: skip
    return [
        Entry(offset, 0, "charge", at_ms, at_ms, "wx1", calls=calls, pack_id="p1", **of),
        Entry(offset, 1, "followed", at_ms, at_ms, "wx1", calls=-calls, **of),
    ]
