"""Every query of Grafana's pages is answered by the real engine on half a year of simulated traffic."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from dashboards.grafana.clickhouse import statement
from metering.ledger import CALL_KINDS
from metering.money import MICRO_YUAN
from metering.times import DAY_MS, shanghai_date
from tests.dashboards.conftest import Ledger, some_of_everything
from tools.pictures.half_year import DAYS, START_MS, STORES, entries_for_pages
from tools.pictures.pages import Query, interpolated, queries

FROM_S = (START_MS + 30 * DAY_MS) // 1_000
TO_S = (START_MS + (DAYS + 60) * DAY_MS) // 1_000
QUERIES = [one for one in queries() if one.source != "prometheus"]


@pytest.fixture(scope="module")
def pages(ledger: Ledger) -> Iterator[Ledger]:
    ledger.replace(entries_for_pages())
    yield ledger
    ledger.replace(some_of_everything())


@pytest.fixture(scope="module")
def chosen(pages: Ledger) -> dict[str, list[str]]:
    """Everything is chosen; of the apps one whose packs, of both capabilities if possible, expire in time."""
    sql = (
        "SELECT appid FROM packs WHERE status = 'active' AND expires_at < $__toTime GROUP BY appid "
        "ORDER BY uniqExact(capability) DESC, appid LIMIT 1"
    )
    ((app,),) = pages.query(interpolated(sql, {}, FROM_S, TO_S))
    apps = [appid for appid, _ in pages.query(statement("var_app"))]
    return {
        "app": [app, *(appid for appid in apps if appid != app)],
        "capability": ["quick", "realtime"],
        "store": [store or "-" for store in STORES],
    }


def answer(pages: Ledger, chosen: dict[str, list[str]], sql: str) -> list[tuple[Any, ...]]:
    return pages.query(interpolated(sql, chosen, FROM_S, TO_S))


@pytest.mark.parametrize("one", QUERIES, ids=lambda one: f"{one.page}: {one.by}")
def test_each_query_returns_rows(pages: Ledger, chosen: dict[str, list[str]], one: Query) -> None:
    if one.page == "app":
        chosen = chosen | {"app": chosen["app"][:1]}
    assert answer(pages, chosen, one.text), one.by


def test_the_curve_of_an_app_is_its_use_and_goes_on_with_the_forecast(
    pages: Ledger, chosen: dict[str, list[str]]
) -> None:
    app = chosen["app"][0]
    calls = answer(pages, chosen, statement("app_calls"))
    charged = sum(
        entry.calls
        for entry in pages.entries
        if (entry.appid, entry.kind) == (app, "charge") and entry.time_ms >= FROM_S * 1_000
    )
    assert sum(row[1] for row in calls) == charged
    expected = answer(pages, chosen, statement("app_expected"))
    assert expected[0][0] > calls[-1][0]
    assert len({time for time, *_ in calls + expected}) == len(calls) + len(expected)


def test_the_deliveries_of_a_route_are_counted_by_what_became_of_them(
    pages: Ledger, chosen: dict[str, list[str]]
) -> None:
    pages.query(
        "INSERT INTO delivery_states (appid, alert_id, route, state, attempts, asked_at, due_at, log_offset)"
        " VALUES ('wx2', '0-1-0', 'night', 'held', 0, '2024-07-01', '2099-01-01', 4),"
        " ('wx2', '0-2-0', 'night', 'waiting', 3, '2024-07-03', '2024-07-03', 5),"
        " ('wx2', '0-3-0', 'night', 'sending', 1, '2024-07-02', '2024-07-02', 6)"
    )
    try:
        found = {row[0]: row[1:8] for row in answer(pages, chosen, statement("pipeline_deliveries"))}
    finally:
        pages.query("DELETE FROM delivery_states WHERE route = 'night'")
    assert found == {
        "owner": (1, 0, None, 0, 1, 0, 21),
        "night": (0, 2, datetime(2024, 7, 2, tzinfo=UTC), 1, 0, 0, 3),
    }


def test_the_choice_of_apps_shows_names_and_means_appids(pages: Ledger) -> None:
    """Of two columns the plugin takes the first for what is chosen and the second for what is shown."""
    found = pages.query(statement("var_app"))
    assert {appid for appid, _ in found} == {entry.appid for entry in pages.entries if entry.appid}
    assert len({shown for _, shown in found}) == len(found)
    assert not {appid for appid, _ in found} & {shown for _, shown in found}


def test_a_choice_of_stores_leaves_the_other_stores_out(pages: Ledger, chosen: dict[str, list[str]]) -> None:
    one = answer(pages, chosen | {"store": ["-"]}, statement("app_stores"))
    assert [place for place, _ in one] == ["-"]
    assert {place for place, _ in answer(pages, chosen, statement("app_stores"))} == set(chosen["store"])


def test_spend_by_month_is_the_money_of_the_lines(pages: Ledger, chosen: dict[str, list[str]]) -> None:
    bought: dict[str, int] = {}
    for entry in pages.entries:
        if entry.kind in ("purchase", "refund") and entry.time_ms >= FROM_S * 1_000:
            month = f"{shanghai_date(entry.time_ms):%Y-%m}"
            sign = 1 if entry.kind == "purchase" else -1
            bought[month] = bought.get(month, 0) + sign * entry.amount_micro_yuan
    found = {month: yuan for month, yuan, *_ in answer(pages, chosen, statement("money_by_month"))}
    assert {month: yuan for month, yuan in found.items() if yuan} == {
        month: pytest.approx(micro_yuan / MICRO_YUAN) for month, micro_yuan in bought.items() if micro_yuan
    }


def test_each_month_closes(pages: Ledger, chosen: dict[str, list[str]]) -> None:
    for _, _, _, _, opening, bought, charged, lapsed, refunded, closing, *_ in answer(
        pages, chosen, statement("money_close")
    ):
        assert opening + bought == charged + lapsed + refunded + closing


def test_the_top_burner_has_most_calls(pages: Ledger, chosen: dict[str, list[str]]) -> None:
    calls: dict[str, int] = {}
    for entry in pages.entries:
        if entry.kind in CALL_KINDS and entry.time_ms >= FROM_S * 1_000:
            calls[entry.appid] = calls.get(entry.appid, 0) + entry.calls
    found = {appid: count for _, appid, count in answer(pages, chosen, statement("fleet_burners"))}
    assert found == {appid: count for appid, count in calls.items() if appid in found}
    assert max(found.values()) == max(calls.values())


def test_the_bar_of_a_pack_ends_when_it_is_used_up_or_expires(
    pages: Ledger, chosen: dict[str, list[str]]
) -> None:
    bars: dict[str, list[float]] = {}
    for _, pack, left in answer(pages, chosen, statement("app_pack_bars")):
        bars.setdefault(pack, []).append(left)
    assert any(lefts[-1] < 0 for lefts in bars.values())
    for lefts in bars.values():
        held = [left for left in lefts if left >= 0]
        assert held == sorted(held, reverse=True)
        assert lefts[: len(held)] == held
