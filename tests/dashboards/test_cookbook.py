"""docs/how-to/cookbook.md: the real engine answers each question, with the figures of plain Python."""

import re
from collections import Counter, defaultdict
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import pytest

from dashboards.cookbook import NAMES, recipe, recipes
from dashboards.cookbook.__main__ import FILE, rendered
from metering.ledger import Entry
from metering.times import DAY_MS, HOUR_MS, SHANGHAI_OFFSET_MS, shanghai_date, shanghai_day
from phonemeter.cli.forecast import read_forecast
from tests.dashboards.conftest import Ledger
from tools.pictures.half_year import is_call

YUAN = 1_000_000


def answered(ledger: Ledger, name: str) -> list[tuple[Any, ...]]:
    return ledger.query(recipe(name).sql)


def month_of(entry: Entry) -> date:
    return shanghai_date(entry.time_ms).replace(day=1)


def authorizations(ledger: Ledger) -> dict[str, Entry]:
    """The line that says what became of each authorization, by event."""
    return {
        entry.event_id: entry
        for entry in ledger.entries
        if is_call(entry) or entry.kind in ("denied", "failed")
    }


def test_the_page_is_what_the_recipes_make() -> None:
    assert FILE.read_text(encoding="utf-8") == rendered(), "run: python -m dashboards.cookbook"


def test_there_are_fifteen_questions_and_each_says_how_to_read_its_answer() -> None:
    assert len(NAMES) == len(set(NAMES)) == 15
    files = {file.stem for file in Path(str(FILE.parents[2] / "dashboards" / "cookbook")).glob("*.sql")}
    assert files == set(NAMES)
    assert [one.name for one in recipes() if not one.question.endswith("?") or len(one.reading) < 60] == []


@pytest.mark.parametrize("query", re.findall(r"```sql\n(.*?)```", rendered(), re.DOTALL))
def test_each_query_of_the_page_returns_rows(simulated: Ledger, query: str) -> None:
    assert simulated.query(query)


def test_stores_have_the_calls_and_the_money_of_their_lines(simulated: Ledger) -> None:
    calls: Counter[tuple[Any, ...]] = Counter()
    money: Counter[tuple[Any, ...]] = Counter()
    for entry in simulated.entries:
        if is_call(entry):
            calls[month_of(entry), entry.appid, entry.store] += entry.calls
            money[month_of(entry), entry.appid, entry.store] += entry.amount_micro_yuan
    of_app: Counter[tuple[Any, ...]] = Counter()
    for (month, appid, _), count in calls.items():
        of_app[month, appid] += count
    expected = {
        key: (
            count,
            pytest.approx(100 * count / of_app[key[:2]], abs=0.0501),
            pytest.approx(money[key] / YUAN),
        )
        for key, count in calls.items()
        if count
    }
    assert {row[:3]: row[3:] for row in answered(simulated, "burn_by_store")} == expected


def test_a_new_member_is_a_client_that_gave_its_number_for_the_first_time(simulated: Ledger) -> None:
    expected: defaultdict[tuple[str, date], list[int]] = defaultdict(lambda: [0, 0, 0])
    met: set[tuple[str, str]] = set()
    for entry in sorted(authorizations(simulated).values(), key=lambda line: (line.time_ms, line.event_id)):
        if not is_call(entry):
            continue
        figures = expected[entry.appid, month_of(entry)]
        figures[(entry.appid, entry.client) in met] += 1
        figures[2] += entry.amount_micro_yuan
        met.add((entry.appid, entry.client))
    found = {row[:2]: row[2:5] for row in answered(simulated, "cost_per_new_member")}
    assert found == {
        key: (new, repeated, pytest.approx(money / YUAN))
        for key, (new, repeated, money) in expected.items()
        if new
    }


def test_packs_lapse_as_the_forecast_plays_it(simulated: Ledger) -> None:
    expected = {
        (appid, pack.pack_id): (pack.remaining, pack.used, pack.lapsing)
        for appid in {entry.appid for entry in simulated.entries}
        for told in read_forecast(simulated.engine.url, appid).capabilities.values()
        for pack in told.packs
    }
    found = {
        (row[0], row[2]): (row[4], row[6], row[7]) for row in answered(simulated, "packs_that_will_lapse")
    }
    assert found == expected
    assert any(0 < lapsing < remaining for remaining, _, lapsing in expected.values())


def test_the_trial_quota_left_is_what_was_granted_less_what_was_taken(simulated: Ledger) -> None:
    left: Counter[str] = Counter()
    for entry in simulated.entries:
        left[entry.appid] += {"trial_grant": 1, "trial_charge": -1}.get(entry.kind, 0) * entry.calls
    assert {(row[0], row[3]) for row in answered(simulated, "trial_left")} == set(left.items())


def test_the_heat_of_an_hour_is_a_mean_over_all_days(simulated: Ledger) -> None:
    calls: Counter[tuple[int, int]] = Counter()
    for entry in simulated.entries:
        if is_call(entry):
            hour = (entry.time_ms + SHANGHAI_OFFSET_MS) % DAY_MS // HOUR_MS
            calls[hour, shanghai_date(entry.time_ms).weekday()] += entry.calls
    seen = [entry.time_ms for entry in authorizations(simulated).values()]
    days = Counter((day + 3) % 7 for day in range(shanghai_day(min(seen)), shanghai_day(max(seen)) + 1))
    for hour, *means in answered(simulated, "hour_heat"):
        assert means == pytest.approx(
            [calls[hour, weekday] / days[weekday] for weekday in range(7)], abs=0.00501
        )


def test_a_bot_stands_out_by_its_client_and_its_day(simulated: Ledger) -> None:
    by_client: Counter[tuple[str, date, str]] = Counter()
    for entry in authorizations(simulated).values():
        by_client[entry.appid, shanghai_date(entry.time_ms), entry.client] += 1
    typical = {
        appid: median(count for (of, _, _), count in by_client.items() if of == appid)
        for appid in {key[0] for key in by_client}
    }
    expected = {
        (appid, str(day), client, count)
        for (appid, day, client), count in by_client.items()
        if count >= 20 and count >= 10 * typical[appid]
    }
    found = [row for row in answered(simulated, "bots") if row[1] == "client"]
    assert {(row[0], row[2], row[3], row[4]) for row in found} == expected
    assert expected


def test_a_month_closes_with_what_the_next_one_opens_with(simulated: Ledger) -> None:
    moved: defaultdict[tuple[date, str, str], Counter[str]] = defaultdict(Counter)
    for entry in simulated.entries:
        if entry.kind in ("purchase", "charge", "lapse", "refund", "trial_charge", "uncovered"):
            moved[month_of(entry), entry.appid, entry.capability][entry.kind] += entry.calls
    held: Counter[tuple[str, str]] = Counter()
    found = answered(simulated, "month_close")
    assert len(found) == len(moved)
    for month, appid, capability, closing, opening, bought, charged, lapsed, refunded, *_ in found:
        of = moved[month, appid, capability]
        assert [bought, charged, lapsed, refunded] == [
            of[k] for k in ("purchase", "charge", "lapse", "refund")
        ]
        assert opening == held[appid, capability]
        held[appid, capability] += bought - charged - lapsed - refunded
        assert closing == held[appid, capability]
    ((remaining,),) = simulated.query("SELECT sum(remaining) FROM packs")
    assert held.total() == remaining


def test_uncovered_calls_have_their_reason(simulated: Ledger) -> None:
    expected = Counter(
        (month_of(entry), entry.appid, entry.capability, entry.reason)
        for entry in authorizations(simulated).values()
        if entry.kind == "uncovered"
    )
    assert {row[:4]: row[4] for row in answered(simulated, "uncovered_by_reason")} == dict(expected)


def test_events_are_late_by_what_lies_between_their_time_and_their_arrival(simulated: Ledger) -> None:
    late = [
        entry.recorded_at_ms - entry.time_ms
        for entry in authorizations(simulated).values()
        if entry.reason != "taken_over"
    ]
    ((_, count, minute, hour, day, _, longest),) = answered(simulated, "late_events")
    assert (count, minute, hour, day) == (
        len(late), *(sum(ms > limit for ms in late) for limit in (60_000, HOUR_MS, DAY_MS))
    )  # fmt: skip
    assert float(longest) == pytest.approx(max(late) / HOUR_MS, abs=0.1)
    assert day > 0


def test_duplicates_are_counted_beside_the_authorizations_of_their_source(simulated: Ledger) -> None:
    duplicates = sum(entry.kind == "duplicate" for entry in simulated.entries)
    ((_, found, of, _, _),) = answered(simulated, "duplicates_by_source")
    assert (found, of) == (duplicates, len(authorizations(simulated)))
    assert duplicates > 0


def test_only_an_untouched_pack_of_this_week_can_be_given_back(simulated: Ledger) -> None:
    newest_ms = max(entry.time_ms for entry in simulated.entries)
    charged = Counter(entry.pack_id for entry in simulated.entries if entry.kind == "charge")
    refunded = {entry.pack_id for entry in simulated.entries if entry.kind == "refund"}
    expected = {}
    for entry in simulated.entries:
        if entry.kind == "purchase":
            over = msgspec.json.decode(entry.details)["paid_at_ms"] + 7 * DAY_MS < newest_ms
            touched = "no: calls were taken from it" if charged[entry.pack_id] else ""
            verdict = "was refunded" if entry.pack_id in refunded else touched
            expected[entry.pack_id] = verdict or ("no: seven days are over" if over else "yes")
    assert {row[1]: row[6] for row in answered(simulated, "refund_check")} == expected


def test_shares_of_the_largest_apps_add_up_to_all(simulated: Ledger) -> None:
    calls: Counter[str] = Counter()
    for entry in simulated.entries:
        if is_call(entry):
            calls[entry.appid] += entry.calls
    found = answered(simulated, "concentration")
    assert {row[1]: row[3] for row in found} == dict(calls)
    assert [row[3] for row in found] == sorted(calls.values(), reverse=True)
    assert found[-1][6] == 100.0


def test_the_reconciliation_finds_the_calls_that_did_not_reach_us(simulated: Ledger) -> None:
    found = answered(simulated, "reconciliation")
    assert [row[6] for row in found if row[6]] == [3]
    assert len(found) == sum(entry.kind == "usage_observed" for entry in simulated.entries)
