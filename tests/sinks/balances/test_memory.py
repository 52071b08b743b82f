"""The memory of balances, and how fresh it is known to be."""

import pytest

from sinks.balances.freshness import Freshness, NotedEnd
from sinks.balances.memory import BalanceMemory
from tests.sinks.balances.parts import APP, NOW_MS, Log, desk

HALF_OF_THE_LOG = 4


def test_entries_that_come_again_are_added_up_once() -> None:
    log = Log(BalanceMemory(1, 10))
    log.buy("P", 10)
    log.charge()
    log._offset = 0
    log.buy("P", 10)
    log.charge()
    balance = log.memory.balance(APP, "quick")
    assert balance is not None
    assert balance.ledger_left_at(NOW_MS) == 9


def test_a_reader_keeps_what_it_has_while_entries_are_added_up() -> None:
    log = Log(BalanceMemory(1, 10))
    log.buy("P", 10)
    before = log.memory.balance(APP, "quick")
    log.charge()
    assert before is not None
    assert before.ledger_left_at(NOW_MS) == 10


def test_apps_beyond_the_limit_are_left_out_and_counted() -> None:
    log = Log(BalanceMemory(1, 1))
    log.buy("P", 10)
    log.add("denied", "wx0000000000000001")
    log.charge()
    assert (len(log.memory), log.memory.left_out) == (1, 1)
    assert log.memory.balance("wx0000000000000001", "quick") is None


def test_an_event_that_is_waited_for_is_told_with_its_offset() -> None:
    log = Log(BalanceMemory(1, 10))
    log.awaited = {"e-1"}
    log.charge(event_id="e-0")
    offset = log.charge(event_id="e-1")
    assert log.seen == [("e-1", 0, offset)]


def test_time_passes_by_the_clock_once_it_has_ticked_and_by_the_entries_before() -> None:
    log = Log(BalanceMemory(1, 10))
    assert log.memory.now_ms(NOW_MS + 7) == NOW_MS + 7
    log.charge()
    assert log.memory.now_ms(NOW_MS + 7) == NOW_MS
    log.add("clock_start", "")
    assert log.memory.now_ms(NOW_MS + 7) == NOW_MS + 7


def test_a_memory_is_as_of_the_end_that_worker_and_memory_are_past() -> None:
    log, fresh = Log(BalanceMemory(1, 10)), Freshness(1)
    for number in range(1, 9):
        fresh.note(NotedEnd(NOW_MS + number, {0: number}))
    fresh.confirm(log.memory, {0: 0})
    assert log.memory.oldest_as_of_ms() == -1
    # The worker is past the end of four events, and the memory not yet past their entries.
    fresh.measure({0: HALF_OF_THE_LOG}, {0: 3})
    fresh.confirm(log.memory, {0: 2})
    assert log.memory.oldest_as_of_ms() == -1
    fresh.confirm(log.memory, {0: 3})
    assert log.memory.oldest_as_of_ms() == NOW_MS + HALF_OF_THE_LOG
    # Entries of the seventh event say that all before it are there, whatever the worker has committed.
    log._offset = 6
    log.charge()
    fresh.confirm(log.memory, {0: 3})
    assert log.memory.as_of_ms(APP) == NOW_MS + 6


def test_a_log_that_stands_still_is_known_to_do_so() -> None:
    log, fresh = Log(BalanceMemory(1, 10)), Freshness(1)
    for second in range(3):
        fresh.note(NotedEnd(NOW_MS + second, {0: 5}))
        fresh.measure({0: 5}, {0: 2})
        fresh.confirm(log.memory, {0: 2})
        assert log.memory.oldest_as_of_ms() == NOW_MS + second


def test_a_partition_without_any_event_is_known_to_have_none() -> None:
    log, fresh = Log(BalanceMemory(2, 10)), Freshness(2)
    fresh.note(NotedEnd(NOW_MS, {0: 0, 1: 5}))
    # Of the empty partition no worker has committed anything.
    fresh.measure({1: 5}, {0: 0, 1: 2})
    fresh.confirm(log.memory, {0: 0, 1: 2})
    assert log.memory.oldest_as_of_ms() == NOW_MS
    fresh.note(NotedEnd(NOW_MS + 1, {0: 1, 1: 5}))
    fresh.measure({1: 5}, {0: 0, 1: 2})
    fresh.confirm(log.memory, {0: 0, 1: 2})
    assert log.memory.oldest_as_of_ms() == NOW_MS


def test_a_thread_that_ends_by_a_fault_is_said_and_one_that_was_to_end_is_not() -> None:
    at = desk()

    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        at.keeper.work(fail)
    assert "ended by a fault" in " ".join(at.keeper.troubles())
    at = desk()
    at.keeper._stopping.set()
    at.keeper.work(lambda: None)
    assert at.keeper.trouble == ""
