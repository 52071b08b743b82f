"""The partition of an app's records, as of every client with Kafka's default partitioner."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner.default import murmur2 as kafkas

from metering.event_reader import read, read_all
from metering.partition import MeteringResult, meter
from metering.partition_state import PartitionState, WorkingState
from metering.placement import ANYWHERE, PartitionIndex, murmur2, partition_of
from metering.records import Record
from metering.rules import Rules
from tests.metering.building import APP, at, event, succeeded, ticked

ARRIVED_MS = at(1)
HOME = partition_of(APP.encode(), 4)
AWAY = (HOME + 1) % 4


@given(st.binary(max_size=70))
def test_the_hash_is_that_of_kafkas_clients(key: bytes) -> None:
    assert murmur2(key) == kafkas(key) & 0xFFFFFFFF


@pytest.mark.parametrize(
    ("key", "hashed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"abc", 479470107),
    ],
)
def test_the_hash_is_that_of_the_java_client(key: bytes, hashed: int) -> None:
    assert murmur2(key) == hashed & 0xFFFFFFFF


def metered(partition: int, *values: bytes, partitions: int = 4) -> MeteringResult:
    """Meter events, each published with its subject as the key."""
    records = [
        Record(offset, ARRIVED_MS, json.loads(value)["subject"].encode(), value)
        for offset, value in enumerate(values)
    ]
    return meter(PartitionState(partition, partitions=partitions), records, Rules())


def test_an_event_in_another_partition_than_its_keys_is_refused_with_its_source() -> None:
    result = metered(AWAY, succeeded(at(1)))
    (line,) = result.entries
    assert (line.kind, line.reason, line.source) == ("rejection", "wrong_partition", "/tests")
    (letter,) = result.dead_letters
    assert letter.reason == "wrong_partition"
    assert f"in partition {AWAY}" in letter.sentence
    assert f"belongs to {HOME} of 4" in letter.sentence
    assert "source '/tests'" in letter.sentence
    assert not result.state.accounts


def test_an_event_where_its_key_belongs_is_metered() -> None:
    result = metered(HOME, succeeded(at(1)), succeeded(at(1)))
    assert [entry.kind for entry in result.entries if entry.calls == 1] == ["trial_charge"] * 2
    assert not result.dead_letters


def test_every_event_of_an_app_that_is_split_is_refused_and_not_only_the_first() -> None:
    split = metered(AWAY, *[succeeded(at(1)) for _ in range(3)])
    later = meter(split.state, [Record(3, ARRIVED_MS, APP.encode(), succeeded(at(1)))], Rules())
    assert len(split.dead_letters) == 3
    assert [letter.reason for letter in later.dead_letters] == ["wrong_partition"]


def test_kinds_that_are_read_with_more_care_are_refused_as_well() -> None:
    refund = event("pack.refunded", at(1), {"pack_id": "p"})
    assert [letter.reason for letter in metered(AWAY, refund).dead_letters] == ["wrong_partition"]


def test_a_clock_tick_belongs_to_every_partition() -> None:
    results = [metered(partition, ticked(at(1))) for partition in range(4)]
    assert not any(result.dead_letters for result in results)
    assert {result.state.tick_ms for result in results} == {at(1)}


def test_an_app_that_is_called_clock_is_no_clock() -> None:
    away = (partition_of(b"clock", 4) + 1) % 4
    assert metered(away, succeeded(at(1), app="clock")).dead_letters


def test_where_the_number_of_partitions_is_not_known_nothing_is_refused() -> None:
    assert not metered(AWAY, succeeded(at(1)), partitions=0).dead_letters


def test_a_wrong_key_is_told_before_a_wrong_partition() -> None:
    record = Record(0, ARRIVED_MS, b"wxother", succeeded(at(1)))
    assert getattr(read(record, PartitionIndex(AWAY, 4)), "reason", "") == "key_mismatch"


@pytest.mark.parametrize("place", [ANYWHERE, PartitionIndex(HOME, 4), PartitionIndex(AWAY, 4)])
def test_a_batch_is_read_as_its_records_are(place: PartitionIndex) -> None:
    records = [
        Record(0, ARRIVED_MS, APP.encode(), succeeded(at(1))),
        Record(1, ARRIVED_MS, b"clock", ticked(at(1))),
        Record(2, ARRIVED_MS, APP.encode(), b"{"),
    ]
    assert read_all(records, (), place).events == [read(record, place) for record in records]


def test_a_state_that_is_taken_over_keeps_its_place() -> None:
    assert WorkingState.of(PartitionState(3, partitions=4)).place == PartitionIndex(3, 4)
