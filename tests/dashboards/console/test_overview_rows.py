"""The rows of the overview: what needs a decision comes first, and each is found and sorted."""

from datetime import date

import pytest

from dashboards.console.overview_rows import (
    OverviewRow,
    SortKey,
    matching_rows,
    overview_rows,
    sorted_rows,
)
from dashboards.console.sparkline import sparkline
from dashboards.reads.apps import AppOutlook, CapabilityOutlook
from dashboards.reads.recent_use import EPOCH, RecentUse
from metering.times import DAY_MS, format_time, shanghai_midnight

TODAY = date(2024, 7, 1)
NOW_MS = shanghai_midnight(1_719_800_000_000)


def outlook(
    left: int = 500,
    *,
    run_out_days: float | None = None,
    lapses_days: float | None = None,
    alerts: tuple[str, ...] = (),
    pending: int = 0,
) -> CapabilityOutlook:
    def at(days: float | None) -> str | None:
        return None if days is None else format_time(NOW_MS + round(days * DAY_MS))

    lapsing = 0 if lapses_days is None else 40
    return CapabilityOutlook(left, pending, at(run_out_days), at(300), at(lapses_days), lapsing, list(alerts))


def rows(
    *apps: AppOutlook,
    use: dict[tuple[str, str], dict[date, int]] | None = None,
    differences: dict[tuple[str, str], int] | None = None,
) -> list[OverviewRow]:
    calls = {
        key: {(day - EPOCH).days: count for day, count in days.items()} for key, days in (use or {}).items()
    }
    return overview_rows(apps, RecentUse(calls, calls, {}), differences or {}, TODAY, NOW_MS)


def app(appid: str, quick: CapabilityOutlook, name: str = "", *, exempt: bool = False) -> AppOutlook:
    idle = CapabilityOutlook(0, 0, None, None, None, 0, [])
    return AppOutlook(appid, name or appid, exempt, capabilities={"quick": quick, "realtime": idle})


@pytest.mark.parametrize(
    ("quick", "decision"),
    [
        (outlook(alerts=("refused", "uncovered")), "refused"),
        (outlook(0, run_out_days=0), "used_up"),
        (outlook(alerts=("uncovered",)), "uncovered"),
        (outlook(run_out_days=6.9, lapses_days=3), "runs_out"),
        (outlook(run_out_days=7), "nothing"),
        (outlook(run_out_days=40, lapses_days=29.9), "lapses"),
        (outlook(lapses_days=30), "nothing"),
        (outlook(alerts=("client_burn",)), "burns"),
        (outlook(), "nothing"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_row_says_the_most_urgent_thing_to_decide(quick: CapabilityOutlook, decision: str) -> None:
    (row,) = rows(app("wx1", quick))
    assert row.decision.name == decision


def test_what_needs_a_decision_comes_first_and_then_what_runs_out_first() -> None:
    found = rows(
        app("wx1", outlook(run_out_days=400)),
        app("wx2", outlook(run_out_days=20)),
        app("wx3", outlook(run_out_days=2)),
        app("wx4", outlook(0)),
    )
    assert [row.appid for row in found] == ["wx4", "wx3", "wx2", "wx1"]


def test_a_difference_to_wechats_count_needs_a_decision_and_agreement_does_not() -> None:
    differences = {("wx1", "quick"): 3, ("wx2", "quick"): 0}
    found = rows(app("wx1", outlook()), app("wx2", outlook()), app("wx3", outlook()), differences=differences)
    assert {row.appid: (row.decision.name, row.difference) for row in found} == {
        "wx1": ("differs", 3),
        "wx2": ("nothing", 0),
        "wx3": ("nothing", None),
    }


def test_nothing_runs_out_for_an_app_that_is_charged_nothing() -> None:
    (row,) = rows(app("wx1", outlook(0, run_out_days=0, alerts=("level",)), exempt=True))
    assert row.decision.name == "nothing"


def test_a_capability_that_is_not_used_has_no_row_but_an_app_has_one() -> None:
    trial = CapabilityOutlook(1_000, 0, None, None, None, 0, ["level"])
    unused = AppOutlook("wx1", "one", exempt=False, capabilities={"quick": trial, "realtime": trial})
    assert [row.capability for row in rows(unused)] == ["quick"]
    found = rows(unused, use={("wx1", "realtime"): {TODAY: 2}})
    assert [(row.capability, row.used) for row in found] == [("realtime", 2)]


def test_apps_of_one_name_are_told_apart_by_their_appid() -> None:
    found = rows(app("wx1", outlook(), "Tea"), app("wx2", outlook(), "Tea"), app("wx3", outlook(), "Rice"))
    assert sorted(row.name for row in found) == ["Rice", "Tea wx1", "Tea wx2"]


def test_an_app_is_found_by_a_part_of_its_name_or_appid_in_any_case() -> None:
    found = rows(app("wxAB", outlook(), "茶饮 Tea"), app("wxCD", outlook(), "Rice"))
    for search, appids in {"tea": ["wxAB"], "茶": ["wxAB"], "wxcd": ["wxCD"], "x": ["wxAB", "wxCD"]}.items():
        assert sorted(row.appid for row in matching_rows(found, search)) == appids
    assert matching_rows(found, "coffee") == []


@pytest.mark.parametrize(
    ("key", "order", "appids"),
    [
        ("name", "ascending", ["wx2", "wx3", "wx1"]),
        ("left", "descending", ["wx1", "wx2", "wx3"]),
        ("run_out", "ascending", ["wx3", "wx2", "wx1"]),
        ("run_out", "descending", ["wx2", "wx3", "wx1"]),
        ("lapse", "descending", ["wx2", "wx3", "wx1"]),
        ("used", "descending", ["wx3", "wx2", "wx1"]),
    ],
)
def test_rows_are_sorted_by_a_column_and_those_without_a_value_come_last(
    key: SortKey, order: str, appids: list[str]
) -> None:
    found = rows(
        app("wx1", outlook(900), "c"),
        app("wx2", outlook(500, run_out_days=20, lapses_days=90), "a"),
        app("wx3", outlook(100, run_out_days=10, lapses_days=80), "b"),
        use={("wx2", "quick"): {TODAY: 1}, ("wx3", "quick"): {TODAY: 3}},
    )
    assert [row.appid for row in sorted_rows(found, key, descending=order == "descending")] == appids


def test_a_small_curve_reaches_from_zero_to_its_highest_value() -> None:
    drawn = sparkline([0, 5, 10])
    assert drawn is not None
    assert drawn.line == "M0,24 50,12 100,0"
    assert drawn.area == "M0,24 0,24 50,12 100,0 100,24z"
    assert sparkline([0, 0]) is sparkline([]) is None
