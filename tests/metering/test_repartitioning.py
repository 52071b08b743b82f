"""The split of the log into more partitions: every app, the clock and every refusal as before."""

import json
from collections import defaultdict
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.ledger import Entry
from metering.partition import meter
from metering.partition_state import PartitionState
from metering.placement import PartitionIndex, partition_of
from metering.records import Record, RecordRange
from metering.repartitioning import SPLIT_MAX, PartitionSplit, refusal_of
from metering.rules import Rules
from tests.metering.building import at, event, purchased, succeeded, ticked

OLD = 2
APPS = [f"wx{letter * 16}" for letter in "abcdef"]
RULES = Rules(trial_calls=2)


Values = list[tuple[bytes | None, bytes | None, int, int]]


def in_old_log(values: Iterable[tuple[bytes | None, bytes | None, int, int]]) -> dict[int, list[Record]]:
    """The records of an old log, each with its key, value, partition and a gap before it."""
    log: dict[int, list[Record]] = defaultdict(list)
    ends: dict[int, int] = defaultdict(int)
    for number, (key, value, partition, gap) in enumerate(values):
        offset = ends[partition] + gap
        ends[partition] = offset + 1
        log[partition].append(Record(offset, at(1) + number, key, value))
    return log


@st.composite
def records(draw: st.DrawFn, old: int) -> tuple[bytes | None, bytes | None, int, int]:
    app, gap = draw(st.sampled_from(APPS)), draw(st.sampled_from([0, 0, 0, 1, 3]))
    home = partition_of(app.encode(), old)
    either = draw(st.integers(0, old - 1))
    event_id = draw(st.sampled_from([None, None, "again"]))
    tap = succeeded(at(draw(st.floats(-1, 1))), app=app, event_id=event_id)
    made: dict[str, tuple[bytes | None, bytes | None, int]] = {
        "tap": (app.encode(), tap, home),
        "pack": (app.encode(), purchased(at(0.5), f"pack-{draw(st.integers(0, 3))}", app=app), home),
        "tick": (b"clock", ticked(at(draw(st.floats(0, 2)))), either),
        "misplaced": (app.encode(), tap, (home + 1) % old),
        "null": (None, tap, either),
        "damaged": (draw(st.sampled_from([app.encode(), b"clock"])), b'{"id":', home),
        "key": (b"another key", tap, either),
    }
    return *made[draw(st.sampled_from(["tap", "tap", *made]))], gap


def metered(log: list[Record], place: PartitionIndex) -> list[Entry]:
    end = log[-1].offset + 1 if log else 0
    state = PartitionState(place.partition, partitions=place.partitions)
    return meter(state, RecordRange(log, 0, end), RULES).entries


def by_app(entries: Iterable[Entry]) -> dict[str, list[tuple[object, ...]]]:
    found: dict[str, list[tuple[object, ...]]] = defaultdict(list)
    for one in entries:
        if one.kind != "rejection":
            found[one.appid].append((one.kind, one.recorded_at_ms, one.event_id, one.calls, one.remaining))
    found.pop("", None)
    return found


def rejections(entries: Iterable[Entry]) -> list[tuple[int, str]]:
    return sorted((one.recorded_at_ms, one.reason) for one in entries if one.kind == "rejection")


def logs(old: int) -> st.SearchStrategy[tuple[int, Values]]:
    return st.tuples(st.just(old), st.lists(records(old), max_size=40))


@given(st.sampled_from([1, 2, 3]).flatmap(logs), st.integers(2, 3), st.integers(1, 7))
def test_a_split_log_gives_every_app_its_entries_and_every_refusal_once(
    logged: tuple[int, Values], times: int, cut: int
) -> None:
    old, values = logged
    partitions = times * old
    for number, log in in_old_log(values).items():
        split = PartitionSplit(PartitionIndex(number, old), partitions)
        new: dict[int, list[Record]] = defaultdict(list)
        for begin in range(0, len(log), cut):
            for target, record in split.split(log[begin : begin + cut]):
                new[target].append(record)
        before = metered(log, PartitionIndex(number, old))
        after = [
            entry
            for target in split.targets
            for entry in metered(new[target], PartitionIndex(target, partitions))
        ]
        assert by_app(before) == by_app(after)
        assert rejections(before) == rejections(after)
        for target in split.targets:
            assert target % old == number
            assert [one.offset for one in new[target]] == list(range(split.end(target)))
            for offset in range(log[-1].offset + 2):
                arrived = [one.recorded_at_ms for one in log if one.offset < offset]
                expected = sum(one.recorded_at_ms in arrived for one in new[target])
                assert split.end_before(target, offset) == expected


def test_a_settlement_names_the_new_offsets() -> None:
    app = APPS[0]
    home, target = (partition_of(app.encode(), number) for number in (OLD, 4))
    others = [one for one in APPS if partition_of(one.encode(), 4) == (target + OLD) % 4]

    def settled(as_of: int, after: int) -> tuple[bytes, bytes]:
        data = {"as_of": as_of, "after": after, "from": "2024-01-01T00:00:00Z"}
        return app.encode(), event("account.settled", at(1), data, app=app)

    values = [
        (others[0].encode(), succeeded(at(1), app=others[0])),
        (app.encode(), succeeded(at(1), app=app)),
        (others[0].encode(), succeeded(at(1), app=others[0])),
        settled(2, -1),
        (others[0].encode(), succeeded(at(1), app=others[0])),
        settled(4, 3),
        settled(4, 2),
    ]
    split = PartitionSplit(PartitionIndex(home, OLD), 4)
    log = [Record(offset, at(1), key, value) for offset, (key, value) in enumerate(values)]
    placed = [record for number, record in split.split(log) if number == target]
    found = [json.loads(one.value or b"")["data"] for one in placed[1:]]
    assert [(one["as_of"], one["after"]) for one in found] == [(0, -1), (1, 1), (1, 3)]
    assert all(json.loads(placed[2].value or b"")[name] for name in ("id", "source", "subject"))


@pytest.mark.parametrize("partitions", [1, 2, 3, 5, OLD * (SPLIT_MAX + 1)])
def test_other_numbers_are_refused_with_the_reason(partitions: int) -> None:
    assert str(partitions) in refusal_of(OLD, partitions)
    assert refusal_of(OLD, 4) == refusal_of(1, 3) == ""
