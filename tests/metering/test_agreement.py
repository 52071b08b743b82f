"""The windows in which the two counts come apart, and the causes that events support (rule 17)."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from metering.agreement import LatePack, Observed, QuotaHistory, QuotaKey, Window, windows
from metering.agreement_causes import (
    LAG_MS,
    MORE_HERE,
    MORE_THERE,
    Evidence,
    NearCalls,
    explain_differences,
)

P1, P2, TRIAL = QuotaKey("quick", "p1"), QuotaKey("quick", "p2"), QuotaKey("", "")


def history(
    quota: QuotaKey,
    observed: Iterable[tuple[int, int]],
    counted: dict[int, int],
    *,
    size: int = 100,
    ends: int = 0,
) -> QuotaHistory:
    """Counts of a quota at moments, and what we counted up to each."""
    return QuotaHistory(quota, [Observed(at, used, size) for at, used in observed], counted, 0, ends)


def changes(histories: list[QuotaHistory], *late: LatePack) -> list[tuple[int, int, int]]:
    return [(one.from_ms, one.to_ms, one.change) for one in windows(histories, late) if one.change]


def window(change: int, *, from_ms: int = 1_000_000, to_ms: int = 2_000_000) -> Window:
    return Window("quick", from_ms, to_ms, change)


def events(*causes: str, at_ms: int = 1_500_000) -> list[Evidence]:
    return [
        Evidence(tuple(cause.split("/")), "quick", at_ms, f"event-{n}")  # type: ignore[arg-type]
        for n, cause in enumerate(causes)
    ]


def told(found: Iterable[object]) -> list[tuple[str, int]]:
    return [("/".join(one.causes), one.effect) for one in found]  # type: ignore[attr-defined]


def test_a_difference_changes_between_the_observations_that_saw_it_change() -> None:
    counts = history(P1, [(10, 3), (20, 8), (30, 9)], {10: 3, 20: 3, 30: 1})
    assert changes([counts]) == [(10, 20, 2)]


def test_calls_that_the_platform_took_from_another_pack_cancel() -> None:
    first = history(P1, [(10, 100), (20, 100)], {10: 98, 20: 2})
    second = history(P2, [(10, 0), (20, 5)], {20: 3})
    assert changes([first, second]) == [(0, 10, 2)]


def test_a_quota_that_was_not_observed_is_known_where_it_can_not_have_changed() -> None:
    busy = history(P1, [(10, 1), (20, 2), (30, 3)], {10: 1, 20: 1, 30: 1})
    idle = history(P2, [(10, 5), (30, 5)], {10: 5})
    unknown = history(P2, [(10, 5), (30, 7)], {10: 5, 20: 1})
    assert changes([busy, idle]) == []
    assert changes([busy, unknown]) == [(10, 30, 1)]


def test_a_shared_trial_quota_keeps_both_capabilities_together_until_it_is_used_up() -> None:
    trial = history(TRIAL, [(10, 60), (20, 100), (30, 100)], {10: 58, 20: 42})
    quick = history(P1, [(10, 0), (20, 2), (30, 5)], {30: 3})
    realtime = history(QuotaKey("realtime", "r"), [(10, 0), (20, 0), (30, 4)], {30: 3})
    found = [
        (one.capability, one.to_ms, one.change) for one in windows([trial, quick, realtime]) if one.change
    ]
    assert found == [("", 10, 2), ("realtime", 30, 1)]


def test_a_pack_that_was_recorded_late_moved_calls_of_packs_that_expire_after_it_only() -> None:
    late = LatePack(P1, 0, 50, 25, "bought")
    moved = history(P1, [(10, 0), (20, 4)], {}, ends=50)
    after = history(P2, [(10, 0), (20, 0)], {20: 4}, ends=90)
    before = history(P2, [(10, 0), (20, 0)], {20: 4}, ends=40)
    assert [(one.moved, one.late_pack) for one in windows([moved, after], [late])] == [(0, ""), (4, "bought")]
    assert [one.moved for one in windows([moved, before], [late])] == [0, 0]


def test_events_in_the_window_explain_it_and_the_rest_is_lost() -> None:
    found = explain_differences([window(3)], events("exchange_failed", "double_tap"))
    assert told(found) == [("exchange_failed", 1), ("lost_callback", 2)]
    outside = events("exchange_failed", at_ms=2_500_000)
    assert told(explain_differences([window(1)], outside)) == [("lost_callback", 1)]


def test_nothing_is_a_cause_where_the_counts_agree() -> None:
    assert explain_differences([window(0)], events("double_tap", "exchange_failed")) == []


def test_where_several_causes_are_possible_all_of_them_are_named() -> None:
    found = explain_differences([window(-2)], events("double_tap", "double_tap", "legacy"))
    assert told(found) == [("double_tap", -1), ("double_tap/legacy", -1)]
    assert told(explain_differences([window(-1)], events("legacy/test_build"))) == [("legacy/test_build", -1)]


def test_what_we_count_more_without_any_reason_is_unexplained() -> None:
    assert told(explain_differences([window(-2)], events("legacy"))) == [("legacy", -1), ("unexplained", -1)]


def test_what_was_used_before_the_first_observation_may_be_from_before_the_log() -> None:
    assert told(explain_differences([window(2, from_ms=0)], [])) == [("before_log/lost_callback", 2)]


def test_calls_around_an_observation_may_have_been_counted_on_its_other_side() -> None:
    pair = [window(-1), window(1, from_ms=2_000_000, to_ms=3_000_000)]
    near = {("quick", 2_000_000): NearCalls(before=1)}
    assert told(explain_differences(pair, [], near)) == [("lag", 0)]
    assert told(explain_differences(pair, [])) == [("unexplained", -1), ("lost_callback", 1)]
    # An event that explains the first one is better than a guess at both.
    assert told(explain_differences(pair, events("legacy"), near)) == [("legacy", -1), ("lost_callback", 1)]


def test_an_event_that_its_window_has_no_use_for_explains_the_next_one() -> None:
    pair = [window(0), window(1, from_ms=2_000_000, to_ms=3_000_000)]
    at_the_edge = events("no_pack_here", at_ms=2_000_000 - LAG_MS)
    assert told(explain_differences(pair, at_the_edge)) == [("no_pack_here", 1)]
    earlier = events("no_pack_here", at_ms=2_000_000 - LAG_MS - 1)
    assert told(explain_differences(pair, earlier)) == [("lost_callback", 1)]


CAUSES = st.sampled_from([*MORE_THERE, *MORE_HERE])


@given(
    st.lists(st.integers(-4, 4), max_size=6),
    st.lists(st.tuples(CAUSES, st.integers(1, 7_000_000)), max_size=30),
    st.integers(0, 2),
)
def test_findings_add_up_to_the_changes_and_no_event_counts_twice(
    steps: list[int], given_events: list[tuple[str, int]], close: int
) -> None:
    told_windows = [
        window(change, from_ms=n * 1_000_000, to_ms=(n + 1) * 1_000_000) for n, change in enumerate(steps)
    ]
    evidence = [
        Evidence((cause,), "quick", at_ms, f"{n}")  # type: ignore[arg-type]
        for n, (cause, at_ms) in enumerate(given_events)
    ]
    near = {("quick", n * 1_000_000): NearCalls(close, close) for n in range(7)}
    found = explain_differences(told_windows, evidence, near)
    assert sum(one.effect for one in found) == sum(steps)
    for cause in (*MORE_THERE, *MORE_HERE):
        named = sum(one.calls for one in found if one.causes == (cause,))
        assert named <= sum(one.causes == (cause,) for one in evidence)
