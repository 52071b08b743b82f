from datetime import UTC, datetime, timedelta

import pytest

from metering.rating import Rating, rate
from metering.rules import Rules
from phonemeter.demo.totals import FIGURES, PackTotals, StoredTotals, differences, read_stored, uses_of
from phonemeter.demo.traffic import with_packs
from phonemeter.errors import OperationError
from producers.events import authorization_succeeded, to_json

START = datetime(2026, 10, 1, tzinfo=UTC)
RULES = Rules(trial_calls=3)


def rated() -> Rating:
    calls = [
        to_json(
            authorization_succeeded(
                appid="wxbusy", code=f"code-{n}", capability="quick", time=START + timedelta(seconds=n)
            )
        )
        for n in range(5)
    ]
    lines, _ = with_packs(calls, RULES)
    return rate(lines, RULES)


def as_stored(rating: Rating) -> StoredTotals:
    """The answer of a ClickHouse that agrees."""
    return StoredTotals(
        outcomes=6,
        uses={
            (appid, capability): {name: getattr(use, name) for name in FIGURES}
            for appid, capability, use in uses_of(rating)
        },
        packs={
            (appid, pack.pack_id): PackTotals(pack.calls, pack.remaining, pack.lapsed, pack.amount_micro_yuan)
            for appid, _, use in uses_of(rating)
            for pack in use.packs
        },
    )


def test_a_ledger_that_agrees_has_no_differences() -> None:
    assert differences(as_stored(rated()), rated()) == []


def test_a_call_too_few_in_clickhouse_is_told() -> None:
    stored = as_stored(rated())
    stored.uses["wxbusy", "quick"]["charged"] -= 1
    assert differences(stored, rated()) == ["wxbusy quick: charged is 1 in ClickHouse and 2 by the rules."]


def test_an_app_that_only_clickhouse_knows_is_told() -> None:
    stored = as_stored(rated())
    stored.uses["wxghost", "quick"] = {**dict.fromkeys(FIGURES, 0), "denied": 1}
    assert differences(stored, rated()) == ["wxghost quick: denied is 1 in ClickHouse and 0 by the rules."]


def test_an_app_that_clickhouse_lacks_is_told() -> None:
    stored = as_stored(rated())
    del stored.uses["wxbusy", "quick"]
    assert "wxbusy quick: trial_charged is 0 in ClickHouse and 3 by the rules." in differences(
        stored, rated()
    )


def test_money_off_by_one_micro_yuan_is_told() -> None:
    stored = as_stored(rated())
    stored.uses["wxbusy", "quick"]["amount_micro_yuan"] += 1
    assert len(differences(stored, rated())) == 1


def test_a_pack_that_holds_something_else_is_told() -> None:
    stored = as_stored(rated())
    next(iter(stored.packs.values())).remaining += 1
    (told,) = differences(stored, rated())
    assert told.startswith("wxbusy pack demo-quick-20261001-wxbusy:")


def test_no_clickhouse_is_told_in_a_sentence() -> None:
    with pytest.raises(OperationError, match=r"ClickHouse at 127\.0\.0\.1:1 does not answer as it should"):
        read_stored("clickhouse://default@127.0.0.1:1/phonemeter")
