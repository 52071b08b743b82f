"""The working out of an app: what is published of it, and when nothing is."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from metering.events import Move
from metering.rules import Rules
from sinks.settler.ledger import SettlerLedger, UnsettledApp
from sinks.settler.work import SHRINKS_MAX, AppWork, NotCompleteError, Settlement, TooLargeError, shrunk
from tests.metering.building import (
    APP,
    NO_TRIAL,
    Play,
    at,
    corrected,
    opened,
    purchased,
    refunded,
    registered,
    succeeded,
)
from tests.sinks.settler.memory_ledger import MemoryLedger, Row


class Bench:
    """An app that is metered, stored and worked out."""

    def __init__(self, *events: bytes, rules: Rules = NO_TRIAL) -> None:
        self.rules = rules
        self.played = Play(rules)
        self.lost: set[int] = set()
        self.reads = 0
        self.lost_at_read = -1
        self.ledger = MemoryLedger(self.rows)
        self.played.on(*events)

    def rows(self) -> list[Row]:
        self.reads += 1
        lost = self.lost if self.reads > self.lost_at_read else set()
        entries = [entry for number, entry in enumerate(self.played.entries) if number not in lost]
        return [(0, *(getattr(entry, name) for name in entry.__struct_fields__)) for entry in entries]

    @property
    def unsettled(self) -> UnsettledApp | None:
        return next(iter(self.ledger.unsettled()), None)

    def work_out(self, groups_max: int = 1_000) -> Settlement | None:
        assert self.unsettled is not None
        work = AppWork(cast("SettlerLedger", self.ledger), lambda: self.rules, groups_max)
        return work(self.unsettled)

    def rounds(self) -> Iterator[Settlement]:
        """Settle in rounds, each round's events metered."""
        while self.unsettled is not None:
            settlement = self.work_out()
            assert settlement is not None
            self.played.on(*settlement.events)
            yield settlement

    def packs(self) -> dict[str, int]:
        """Calls charged by pack."""
        charged: dict[str, int] = {}
        for entry in self.played.of("charge"):
            charged[entry.pack_id] = charged.get(entry.pack_id, 0) + entry.calls
        return {pack_id: calls for pack_id, calls in charged.items() if calls}


LATE_PACK = (
    purchased(at(1), "YEAR", calls=10, days=365),
    *(succeeded(at(5, hours=hour), event_id=f"call-{hour}") for hour in range(4)),
    purchased(at(9), "SHORT", calls=3, days=90, paid_at=at(2)),
)


def data_of(settlement: Settlement | None) -> Any:  # noqa: ANN401 - the JSON of an event
    assert settlement is not None
    (event,) = settlement.events
    return json.loads(event)["data"]


def test_the_newest_record_may_lack_entries_so_an_empty_settlement_comes_first() -> None:
    bench = Bench(*LATE_PACK)
    told = data_of(bench.work_out())
    assert (told["as_of"], told["after"]) == (0, -1)
    assert not told.get("moves")


def test_rounds_end_with_one_that_found_nothing() -> None:
    bench = Bench(*LATE_PACK)
    assert [settlement.moved_calls for settlement in bench.rounds()] == [0, 3, 0]
    assert bench.packs() == {"SHORT": 3, "YEAR": 1}
    assert not bench.played.of("settlement_refused")


def test_a_settlement_is_as_of_all_that_is_complete_and_after_the_one_before() -> None:
    bench = Bench(*LATE_PACK, succeeded(at(10), event_id="later", capability="realtime"))
    first, second = (data_of(settlement) for settlement in bench.rounds())
    assert (first["as_of"], first["after"]) == (5, -1)
    assert (second["as_of"], second["after"]) == (7, 7)


def test_an_app_that_makes_calls_all_the_time_is_settled_by_halves() -> None:
    """Each round, one more call is taken from the pack that late calls belong into before it is applied."""
    bench = Bench(*(succeeded(at(5, hours=hour), event_id=f"call-{hour}") for hour in range(40)))
    bench.played.on(
        purchased(at(9), "YEAR", calls=100, days=365, paid_at=at(1)),
        purchased(at(9), "SHORT", calls=40, days=90, paid_at=at(2)),
        succeeded(at(10), event_id="before"),
    )
    for number in range(40):
        settlement = bench.work_out()
        assert settlement is not None
        bench.played.on(succeeded(at(11, hours=number), event_id=f"live-{number}"), *settlement.events)
        if bench.unsettled is None:
            break
    assert bench.unsettled is None
    assert bench.played.of("settlement_refused")
    assert bench.packs()["SHORT"] == 40


@pytest.mark.parametrize(
    ("misfits", "calls"), [(0, [5, 3]), (1, [4]), (2, [2]), (4, [5, 3]), (SHRINKS_MAX, [5, 3])]
)
def test_a_settlement_that_did_not_fit_is_halved(misfits: int, calls: list[int]) -> None:
    day = datetime(2026, 6, 1, tzinfo=UTC)
    moves = [
        Move(capability="quick", from_="pack:A", to="pack:B", calls=number, time=day) for number in (5, 3)
    ]
    assert [move.calls for move in shrunk(moves, misfits)] == calls


def test_corrections_are_settled_from_the_earliest_time_that_they_concern() -> None:
    bench = Bench(
        purchased(at(1), "P1", calls=5, event_id="bought"),
        *(succeeded(at(5 + day), event_id=f"call-{day}", store="a") for day in range(4)),
        corrected(at(20), "call-1", void=True),
        corrected(at(20), "call-2", set={"store": "b"}),
        corrected(at(20), "bought", set={"calls": 2, "price_micro_yuan": 1_000}),
        succeeded(at(21), event_id="later", capability="realtime"),
    )
    assert len(list(bench.rounds())) == 2
    assert bench.packs() == {"P1": 2}
    assert sum(entry.amount_micro_yuan for entry in bench.played.of("charge")) == 1_000
    assert sum(entry.calls for entry in bench.played.of("corrected") if entry.store == "b") == -1
    assert sum(entry.calls for entry in bench.played.of("uncovered")) == 2


def test_a_pack_that_is_charged_while_its_correction_is_on_its_way_is_stopped_before_it_is_replaced() -> None:
    bench = Bench(
        purchased(at(1), "P1", calls=1_000, event_id="bought"),
        *(succeeded(at(5, hours=hour), event_id=f"call-{hour}", store=f"s{hour}") for hour in range(9)),
        corrected(at(20), "bought", set={"calls": 500}),
        succeeded(at(20), event_id="later", capability="realtime"),
    )
    for number in range(12):
        if bench.unsettled is None:
            break
        settlement = bench.work_out()
        assert settlement is not None
        bench.played.on(succeeded(at(21, hours=number), event_id=f"meanwhile-{number}"), *settlement.events)
    assert bench.unsettled is None
    (pack,) = bench.played.state.accounts[APP].quick.open
    assert (pack.calls, pack.remaining) == (500, 500 - 9 - number)
    assert "does_not_fit" in [entry.reason for entry in bench.played.of("settlement_refused")]
    uncovered = [entry.calls for entry in bench.played.of("uncovered") if entry.capability == "quick"]
    assert sum(uncovered) == 0


def test_an_empty_settlement_takes_no_account_of_a_correction() -> None:
    """The correction is complete then, and the record after it is not."""
    bench = Bench(
        purchased(at(1), "P1", calls=5),
        succeeded(at(5), event_id="call"),
        corrected(at(20), "call", void=True),
        purchased(at(19), "P0", calls=5, paid_at=at(4)),
    )
    list(bench.rounds())
    assert sum(entry.calls for entry in bench.played.of("corrected")) == 1


def test_the_same_reading_gives_the_same_settlement() -> None:
    bench = Bench(*LATE_PACK, succeeded(at(10), event_id="later"))
    assert bench.work_out() == bench.work_out()


def test_a_refund_and_an_owner_that_were_late_are_settled_with_the_calls_between() -> None:
    bench = Bench(
        purchased(at(1), "P1", calls=2),
        purchased(at(1), "P2", calls=9, days=100),
        *(succeeded(at(3, hours=hour), event_id=f"call-{hour}") for hour in range(4)),
        refunded(at(2), "P1"),
        registered(at(3, hours=2), "government"),
        succeeded(at(4), event_id="later"),
    )
    assert list(bench.rounds())
    refunds = [(entry.pack_id, entry.calls) for entry in bench.played.of("refund")]
    assert refunds == [("P1", 2)]
    assert bench.packs() == {"P2": 2}
    assert sum(entry.calls for entry in bench.played.of("exempt")) == 3


@pytest.mark.parametrize("scope", ["account", "capability"])
def test_the_trial_quota_before_the_late_fact_is_taken_into_account(scope: Any) -> None:  # noqa: ANN401 - a literal
    rules = Rules(trial_calls=3, trial_scope=scope)
    bench = Bench(
        *(succeeded(at(1, hours=hour), event_id=f"early-{hour}") for hour in range(2)),
        succeeded(at(5), event_id="third", store="store-1"),
        succeeded(at(5, hours=1), event_id="fourth", store="store-2"),
        succeeded(at(4), event_id="late", store="store-3"),
        succeeded(at(6), event_id="later"),
        rules=rules,
    )
    assert list(bench.rounds())
    left = {entry.store: 0 for entry in bench.played.of("uncovered")}
    for entry in bench.played.of("uncovered"):
        left[entry.store] += entry.calls
    assert {store: calls for store, calls in left.items() if calls} == {"store-1": 1, "store-2": 1, "": 1}


def test_nothing_is_published_while_the_newest_settlement_is_not_stored_completely() -> None:
    bench = Bench(*LATE_PACK, succeeded(at(10), event_id="later", capability="realtime"))
    assert next(bench.rounds()).moved_calls == 3
    app = bench.unsettled
    assert app is not None
    bench.lost, bench.lost_at_read = {len(bench.played.entries) - 1}, 0
    assert AppWork(cast("SettlerLedger", bench.ledger), lambda: bench.rules, 1_000)(app) is None


def test_nothing_is_published_of_a_ledger_that_lost_entries_while_it_was_read() -> None:
    bench = Bench(*LATE_PACK, succeeded(at(10), event_id="later", capability="realtime"))
    app = bench.unsettled
    assert app is not None
    work = AppWork(cast("SettlerLedger", bench.ledger), lambda: bench.rules, 1_000)
    bench.reads = 0
    assert work(app) is not None
    reads = bench.reads
    for lost_at_read in range(2, reads):
        bench.reads, bench.lost_at_read, bench.lost = 0, lost_at_read, {2, 3}
        with pytest.raises(NotCompleteError):
            work(app)


def test_calls_without_their_entries_are_no_reason_to_move_any() -> None:
    bench = Bench(*LATE_PACK, succeeded(at(10), event_id="later", capability="realtime"))
    app = bench.unsettled
    assert app is not None
    # The facts are read before the sums, and this ledger lost a call for good.
    bench.lost, bench.lost_at_read = {2}, 0
    settlement = AppWork(cast("SettlerLedger", bench.ledger), lambda: bench.rules, 1_000)(app)
    assert settlement is not None
    assert settlement.calls_read == 3


def test_an_app_with_too_many_sums_is_refused_in_a_sentence() -> None:
    bench = Bench(
        *LATE_PACK,
        *(succeeded(at(10), event_id=f"store-{store}", store=f"store-{store}") for store in range(5)),
    )
    with pytest.raises(TooLargeError, match=r"more than 3 sums .* PHONEMETER_SETTLER_GROUPS_MAX"):
        bench.work_out(groups_max=3)


def test_an_opened_trial_quota_of_no_calls_is_settled_as_well() -> None:
    bench = Bench(opened(at(0), 0), *LATE_PACK)
    assert bench.played.of("opening")
    assert [settlement.moved_calls for settlement in bench.rounds()] == [0, 3, 0]
    assert bench.packs() == {"SHORT": 3, "YEAR": 1}


def test_a_settlement_is_of_its_app() -> None:
    settlement = Bench(*LATE_PACK).work_out()
    assert settlement is not None
    event = json.loads(settlement.events[0])
    assert (event["subject"], event["type"], event["id"]) == (APP, "account.settled", settlement.event_ids[0])


def test_a_pack_that_is_late_covers_the_call_that_is_uncovered_in_order_whichever_is_remembered() -> None:
    """It is recorded before or after the settlement of the call that came late."""
    facts = [
        purchased(at(1), "P1", calls=1),
        succeeded(at(1, hours=5), event_id="covered by P1 at first"),
        succeeded(at(1, hours=1), event_id="late, and uncovered at first"),
        succeeded(at(1, hours=6), event_id="of the other", capability="realtime"),
    ]
    late = purchased(at(2), "P2", calls=9, paid_at=at(1, hours=3))
    after = Bench(*facts)
    assert list(after.rounds())
    after.played.on(late)
    assert list(after.rounds())
    meanwhile = Bench(*facts)
    settlement = meanwhile.work_out()
    assert settlement is not None
    meanwhile.played.on(late, *settlement.events)
    assert list(meanwhile.rounds())
    assert after.packs() == meanwhile.packs() == {"P1": 1, "P2": 1}


def test_what_was_used_before_the_log_is_taken_from_no_call() -> None:
    """Rule 16: the trial quota has one call left, and the late pack one of three."""
    calls = [succeeded(at(5, hours=hour), event_id=f"call-{hour}") for hour in range(4)]
    late = purchased(at(9), "SHORT", calls=3, days=90, paid_at=at(2), used_before=2)
    year = purchased(at(1), "YEAR", calls=10, days=365)
    bench = Bench(opened(at(1), 9), year, *calls, late, rules=Rules(trial_calls=10))
    assert bench.packs() == {"YEAR": 3}
    assert sum(settlement.moved_calls for settlement in bench.rounds()) == 1
    assert bench.packs() == {"YEAR": 2, "SHORT": 1}
    assert bench.played.state.accounts[APP].trial == 0
