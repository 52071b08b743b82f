"""The preview of a correction, on the real engine: it is what the settlement makes of it (rule 15)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec
import pytest
from clickhouse_driver import Client

from metering.events import ChangedFields
from metering.rules import Rules
from phonemeter.clickhouse import ledger_client
from phonemeter.corrections.amounts import AppAmounts, Change, changes, read_amounts
from phonemeter.corrections.facts import CorrectableFact, find_fact
from phonemeter.corrections.preview import CorrectionTrial, Preview
from phonemeter.errors import OperationError
from phonemeter.topic_reader import TopicReader
from tests.conftest import RunningEngine
from tests.metering.building import (
    APP,
    NO_TRIAL,
    Play,
    at,
    corrected,
    play,
    purchased,
    refunded,
    registered,
    succeeded,
    text_of,
)
from tests.metering.settler import Settler
from tests.phonemeter.cli.storing import stored
from tools.pictures.half_year_engine import store_entries

NO_READER = cast("TopicReader", None)
"""Stands for the log, which is read only for ids of which ClickHouse keeps the first digits."""


@dataclass
class Case:
    """A log, the id of a fact in it, and what is set; None where it is void."""

    log: list[bytes]
    fact: str
    changed: dict[str, Any] | None = None
    rules: Rules = NO_TRIAL
    differs: set[str] = field(default_factory=set)


def calls(number: int, day: float = 2, **more: str) -> list[bytes]:
    return [succeeded(at(day, ms=ms), event_id=f"call-{day}-{ms}", **more) for ms in range(number)]


def bought(pack_id: str, day: float = 1, **more: Any) -> bytes:  # noqa: ANN401 - fields of a purchase
    return purchased(at(day), pack_id, event_id=f"buy-{pack_id}", **more)


CASES = {
    "a call that never was": Case([bought("p"), *calls(3)], "call-2-1", differs={"calls", "pack_left"}),
    "a call of the trial quota": Case(
        calls(3), "call-2-1", rules=Rules(trial_calls=2), differs={"calls", "uncovered"}
    ),
    "a call of the other capability": Case(
        [bought("p"), *calls(3)], "call-2-0", {"capability": "realtime", "store": "s"}, differs={"uncovered"}
    ),
    "a purchase with a typo": Case(
        [bought("p", calls=100, price=3_000_000), *calls(3)],
        "buy-p",
        {"calls": 10, "price_micro_yuan": 450_000},
        differs={"pack_calls", "pack_left", "cost_micro_yuan"},
    ),
    "a purchase of the other capability": Case(
        [bought("p"), *calls(2)], "buy-p", {"capability": "realtime"}, differs={"uncovered"}
    ),
    "a purchase that never was": Case(
        [bought("p", days=30), bought("q", price=600_000), *calls(12)], "buy-p", differs={"uncovered"}
    ),
    "a pack that is renamed": Case([bought("p"), *calls(2)], "buy-p", {"pack_id": "q"}),
    "a purchase that was paid later": Case(
        [bought("p"), *calls(2), *calls(2, 4)], "buy-p", {"paid_at": text_of(at(3))}, differs={"uncovered"}
    ),
    "a pack that has lapsed": Case(
        [bought("p", days=5), *calls(2), bought("q", 50)], "buy-p", {"validity_days": 400}
    ),
    "an owner who is exempt": Case(
        [registered(at(1), "company"), bought("p"), *calls(3)],
        "",
        {"entity_type": "政府"},
        differs={"exempt"},
    ),
    "a refund that never was": Case(
        [bought("p"), refunded(at(1.5), "p"), *calls(3)], "", differs={"pack_refunded", "uncovered"}
    ),
    "a correction that was wrong": Case(
        [bought("p"), *calls(3), corrected(at(3), "call-2-1", void=True)], "", differs={"calls"}
    ),
    "an app that is unsettled": Case(
        [bought("p", calls=1), bought("q"), *calls(1, 3), *calls(1)], "call-3-0", differs={"calls"}
    ),
}


@pytest.fixture(scope="module")
def url(engine: RunningEngine) -> str:
    return stored(engine.url("previews"), [])


@pytest.fixture
def store(url: str) -> Callable[[Play], str]:
    """Have the ledger hold the entries of a play, and return its URL."""

    def replace(played: Play) -> str:
        with ledger_client(url) as client:
            client.execute("TRUNCATE TABLE ledger")
        store_entries(url, played.entries)
        return url

    return replace


Store = Callable[[Play], str]


@contextmanager
def tried(url: str, event_id: str, rules: Rules) -> Iterator[tuple[Client, CorrectableFact, CorrectionTrial]]:
    with ledger_client(url) as client:
        fact = find_fact(client, NO_READER, event_id, None)
        trial = CorrectionTrial(url, fact, rules)
        yield client, fact, trial
        trial.close()


def previewed(url: str, event_id: str, changed: ChangedFields | None, rules: Rules) -> Preview:
    with tried(url, event_id, rules) as (client, _, trial):
        return trial.preview(changed, at(60), read_amounts(client, APP))


def amounts(url: str) -> AppAmounts:
    with ledger_client(url) as client:
        return read_amounts(client, APP)


def fields_of(changed: dict[str, Any] | None) -> ChangedFields | None:
    return None if changed is None else msgspec.convert(changed, ChangedFields)


def figures(found: list[Change]) -> set[str]:
    return {change.figure for change in found}


@pytest.mark.parametrize("name", CASES)
def test_a_preview_is_what_the_settlement_makes_of_the_correction(store: Store, name: str) -> None:
    case = CASES[name]
    played = play(*case.log, rules=case.rules)
    event_id = case.fact or _last_id(played)
    if "unsettled" not in name:
        Settler(played).settle()
    changed = fields_of(case.changed)
    preview = previewed(store(played), event_id, changed, case.rules)

    Settler(played).settle()
    before = amounts(store(played))
    said: dict[str, Any] = {"void": True} if case.changed is None else {"set": case.changed}
    played.on(corrected(at(60), event_id, **said))
    Settler(played).settle()
    expected = changes(before, amounts(store(played)))

    assert changes(preview.amounts, preview.amounts_after) == expected
    assert figures(expected) >= case.differs
    assert expected
    assert preview.before != preview.after


def _last_id(played: Play) -> str:
    kinds = {"registration", "refund", "correction"}
    return next(entry.event_id for entry in reversed(played.entries) if entry.kind in kinds)


def test_the_fields_of_a_fact_are_those_that_earlier_corrections_gave_it(store: Store) -> None:
    played = play(bought("p", calls=100), corrected(at(2), "buy-p", set={"calls": 50}))
    preview = previewed(store(played), "buy-p", ChangedFields(order_id="o"), NO_TRIAL)
    assert preview.before is not None
    assert preview.after == {**preview.before, "order_id": "o"}
    assert preview.before["calls"] == 50
    assert preview.before["paid_at"] == text_of(at(1))


def test_what_is_void_has_no_fields(store: Store) -> None:
    played = play(bought("p"), *calls(1), corrected(at(3), "call-2-0", void=True))
    url = store(played)
    preview = previewed(url, "call-2-0", ChangedFields(store="s"), NO_TRIAL)
    assert preview.before is None
    assert preview.after is not None
    assert preview.after["store"] == "s"
    again = previewed(url, "call-2-0", None, NO_TRIAL)
    assert (again.before, again.after) == (None, None)


def test_a_correction_whose_fact_is_not_known_is_not_tried(store: Store) -> None:
    played = play(bought("p"), corrected(at(3), "unknown", void=True))
    event_id = played.of("correction")[0].event_id
    with pytest.raises(OperationError, match="does not have event unknown yet"):
        previewed(store(played), event_id, None, NO_TRIAL)


def test_the_newest_correction_is_that_of_the_whole_chain(store: Store) -> None:
    played = play(bought("p"), *calls(2))
    with tried(store(played), "call-2-0", NO_TRIAL) as (_, _, trial):
        assert trial.newest is None
    played.on(corrected(at(3), "call-2-0", void=True), corrected(at(5), "call-2-1", void=True))
    first = played.of("correction")[0].event_id
    played.on(corrected(at(4), first, void=True))
    with tried(store(played), "call-2-0", NO_TRIAL) as (_, _, trial):
        assert trial.newest is not None
        assert trial.newest.event_id == played.of("correction")[-1].event_id
        assert trial.is_unsettled
