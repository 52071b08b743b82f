"""Properties of every log, however it is cut into batches."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering import state_items
from metering.accounts import Account, encode_account
from metering.ledger import CALL_KINDS, Entry, encode_records
from metering.partition import MeteringResult, OffsetGapError, meter
from metering.partition_state import PartitionState, WorkingState
from metering.rating import CapabilityReport, rate
from metering.records import Record, RecordRange
from metering.rules import Rules
from tests.metering.building import Play, records, succeeded
from tests.metering.logs import Log, logs

pytestmark = pytest.mark.usefixtures("small_chunks")

cut_places = st.lists(st.integers(1, 80), max_size=12).map(lambda places: sorted(set(places)))


def batches(log: Log, cuts: list[int]) -> Iterator[list[Record]]:
    whole = records(log.values)
    edges = [0, *(cut for cut in cuts if cut < len(whole)), len(whole)]
    return (whole[start:end] for start, end in pairwise(edges))


def snapshot(state: PartitionState) -> tuple[object, ...]:
    """All of a state as immutable values."""
    return (
        state_items.header_of(state),
        {appid: encode_account(account) for appid, account in state.accounts.items()},
        {place: calls.chunks for place, calls in state.uncovered.items() if calls.chunks},
        [[column.tobytes() for column in segment] for segment in state.ids.segments],
        state.ids.tail,
        state.ids.newest_ms,
    )


def lines_of(entries: list[Entry]) -> bytes:
    return msgspec.json.encode(entries)


def accounts_without_offsets(state: PartitionState) -> dict[str, bytes]:
    accounts = ((appid, account.copy()) for appid, account in state.accounts.items())
    stored = {}
    for appid, account in accounts:
        account.unsettled_offset = account.taken_over_offset = -1
        stored[appid] = encode_account(account)
    return stored


def without_offsets(entries: list[Entry]) -> list[Entry]:
    return [msgspec.structs.replace(entry, offset=0) for entry in entries]


class Disk:
    """A state stored as the stream does: a header, and the items that each batch changed."""

    def __init__(self) -> None:
        self.header = state_items.StateHeader()
        self.items: dict[str, bytes] = {}

    def keep(self, before: PartitionState, metered: MeteringResult) -> None:
        for key, item in state_items.changed_items(before, metered.state, metered.changes).items():
            if item is None:
                self.items.pop(key, None)
            else:
                self.items[key] = item
        self.header = state_items.header_of(metered.state)

    def state(self) -> PartitionState:
        return state_items.restore(0, self.header, self.items)


def assert_balanced(account: Account, entries: list[Entry]) -> None:
    """Rule 14 for every pack of an account, from its ledger entries, with what was used before (rule 16)."""
    moved: defaultdict[tuple[str, str, str], int] = defaultdict(int)
    money: defaultdict[tuple[str, str, str], int] = defaultdict(int)
    for entry in entries:
        if entry.appid == account.appid:
            moved[entry.kind, entry.capability, entry.pack_id] += entry.calls
            money[entry.kind, entry.capability, entry.pack_id] += entry.amount_micro_yuan
    for capability, use in account.capabilities.items():
        for pack in use.packs:
            pack_id, remaining = pack.pack_id, pack.remaining
            granted, before, charged, lapsed, refunded = (
                moved[kind, capability, pack_id]
                for kind in ("purchase", "opening", "charge", "lapse", "refund")
            )
            assert remaining >= 0
            assert before == pack.used_before
            assert granted == before + charged + lapsed + refunded + remaining
            price, cost, lost, returned = (
                money[kind, capability, pack_id] for kind in ("purchase", "charge", "lapse", "refund")
            )
            assert 0 <= cost <= price
            assert remaining > 0 or price == pack.cost(before) + cost + lost + returned
        granted_to = {place: calls for place, calls in moved.items() if place[:2] == ("purchase", capability)}
        bought = [pack_id for (_, _, pack_id), calls in granted_to.items() if calls]
        assert sorted(pack.pack_id for pack in use.packs) == sorted(bought)
        assert list(use.open) == sorted(use.open)
        assert all(pack.remaining for pack in use.open)
        active = [pack for pack in (*use.open, *use.spent) if pack.covers(account.clock_ms)]
        assert use.active_size == sum(pack.calls for pack in active if pack.remaining)
        assert use.active_remaining == sum(pack.remaining for pack in active)


@given(logs)
def test_granted_is_charged_lapsed_refunded_and_remaining_after_every_record(log: Log) -> None:
    played = Play(log.rules)
    for value in log.values:
        touched = {entry.appid for entry in played.on(value)}
        for appid in touched & set(played.state.accounts):
            assert_balanced(played.state.accounts[appid], played.entries)
    for account in played.state.accounts.values():
        assert_balanced(account, played.entries)


@given(logs)
def test_every_succeeded_event_has_exactly_one_outcome(log: Log) -> None:
    played = Play(log.rules)
    for value in log.values:
        entries = played.on(value)
        event = msgspec.json.decode(value) if value.startswith(b'{"') else {"type": "broken"}
        own = [entry for entry in entries if entry.kind in CALL_KINDS and entry.reason != "taken_over"]
        refused = [entry for entry in entries if entry.kind in {"duplicate", "rejection"}]
        if event["type"] == "phone.authorization.succeeded":
            assert [entry.calls for entry in own] + [1 for _ in refused] == [1]
        else:
            assert own == []
    uncovered_now: defaultdict[tuple[str, str, int], int] = defaultdict(int)
    for entry in played.of("uncovered"):
        uncovered_now[entry.appid, entry.event_id, entry.time_ms] += entry.calls
    assert min(uncovered_now.values(), default=0) >= 0


@given(logs)
def test_no_charge_lies_outside_its_packs_validity(log: Log) -> None:
    played = Play(log.rules)
    played.on(*log.values)
    validity = {
        (account.appid, pack.pack_id): pack
        for account in played.state.accounts.values()
        for use in account.capabilities.values()
        for pack in use.packs
    }
    for entry in played.of("charge"):
        assert validity[entry.appid, entry.pack_id].covers(entry.time_ms)


@given(logs)
def test_a_fully_used_pack_cost_exactly_its_price(log: Log) -> None:
    for app in rate(log.values, log.rules).apps.values():
        for use in app.values():
            for pack in use.packs if isinstance(use, CapabilityReport) else []:
                if pack.status == "exhausted":
                    assert pack.lapsed == pack.remaining == 0
    played = Play(log.rules)
    played.on(*log.values)
    spent: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for entry in played.of("charge"):
        spent[entry.appid, entry.pack_id].append(entry.amount_micro_yuan)
    for bought in played.of("purchase"):
        costs = spent[bought.appid, bought.pack_id]
        if len(costs) == bought.calls:
            assert sum(costs) == bought.amount_micro_yuan
            assert max(costs) - min(costs) <= 1


@given(logs, cut_places)
def test_the_ledger_is_the_same_byte_for_byte_however_the_log_is_cut(log: Log, cuts: list[int]) -> None:
    whole = meter(PartitionState(0), records(log.values), log.rules)
    state, entries = PartitionState(0), []
    for batch in batches(log, cuts):
        metered = meter(state, batch, log.rules)
        state = metered.state
        entries += metered.entries
    assert lines_of(entries) == lines_of(whole.entries)
    assert snapshot(state)[1:3] == snapshot(whole.state)[1:3]


@given(logs, cut_places)
def test_the_ledger_is_the_same_when_every_batch_is_followed_by_a_restart(log: Log, cuts: list[int]) -> None:
    whole = meter(PartitionState(0), records(log.values), log.rules)
    disk, entries = Disk(), []
    for batch in batches(log, cuts):
        before = disk.state()
        metered = meter(before, batch, log.rules)
        disk.keep(before, metered)
        entries += metered.entries
    assert lines_of(entries) == lines_of(whole.entries)
    assert snapshot(disk.state())[1:3] == snapshot(whole.state)[1:3]


@given(logs, cut_places)
def test_what_is_kept_of_a_state_is_all_of_it(log: Log, cuts: list[int]) -> None:
    disk, state = Disk(), PartitionState(0)
    for batch in batches(log, cuts):
        metered = meter(state, batch, log.rules)
        disk.keep(state, metered)
        state = metered.state
        kept = disk.state()
        assert (snapshot(kept)[:3], kept.ids.tail, kept.ids.newest_ms) == (
            snapshot(state)[:3],
            state.ids.tail,
            state.ids.newest_ms,
        )


@given(logs, cut_places)
def test_a_working_state_comes_to_the_same_and_tells_all_that_it_changed(log: Log, cuts: list[int]) -> None:
    whole = meter(PartitionState(0), records(log.values), log.rules)
    disk, entries = Disk(), list[Entry]()
    state: PartitionState = WorkingState(0)
    for batch in batches(log, cuts):
        metered = meter(state, batch, log.rules)
        assert metered.state.accounts is state.accounts
        disk.keep(state, metered)
        assert snapshot(disk.state())[:3] == snapshot(metered.state)[:3]
        state = WorkingState.of(disk.state()) if len(batch) % 2 else metered.state
        entries += metered.entries
    assert lines_of(entries) == lines_of(whole.entries)
    assert snapshot(state)[1:3] == snapshot(whole.state)[1:3]


@given(logs)
def test_a_gap_leaves_even_a_working_state_as_it_was(log: Log) -> None:
    state = meter(WorkingState(0), records(log.values), log.rules).state
    before = snapshot(state)
    ahead = [*records(log.values), Record(state.next_offset + 1, 0, None, None)]
    with pytest.raises(OffsetGapError):
        meter(state, ahead, log.rules)
    assert snapshot(state) == before


@given(logs, cut_places)
def test_a_replay_from_an_older_state_gives_the_same_entries_again(log: Log, cuts: list[int]) -> None:
    state, older = PartitionState(0), []
    for batch in batches(log, cuts):
        older.append((state, batch))
        state = meter(state, batch, log.rules).state
    whole = lines_of(meter(PartitionState(0), records(log.values), log.rules).entries)
    for before, batch in older:
        rest = records(log.values)[batch[0].offset :]
        again = meter(before, rest, log.rules)
        assert whole.endswith(lines_of(again.entries)[1:])
        assert snapshot(again.state)[1:3] == snapshot(state)[1:3]


@given(logs, cut_places)
def test_metering_leaves_the_state_it_was_given_as_it_was(log: Log, cuts: list[int]) -> None:
    state = PartitionState(0)
    for batch in batches(log, cuts):
        before = snapshot(state)
        metered = meter(state, batch, log.rules)
        assert snapshot(state) == before
        state = metered.state


@given(logs, cut_places)
def test_records_that_the_state_has_already_do_nothing(log: Log, cuts: list[int]) -> None:
    state, entries = PartitionState(0), []
    for batch in batches(log, cuts):
        delivered = [*records(log.values)[max(0, batch[0].offset - 5) : batch[0].offset], *batch]
        metered = meter(state, delivered, log.rules)
        state = metered.state
        entries += metered.entries
    assert lines_of(entries) == lines_of(meter(PartitionState(0), records(log.values), log.rules).entries)


@given(logs)
def test_lines_come_in_the_order_of_their_identity(log: Log) -> None:
    entries = meter(PartitionState(0), records(log.values), log.rules).entries
    identities = [(entry.offset, entry.line) for entry in entries]
    assert identities == sorted(set(identities))
    last: dict[int, int] = {}
    for offset, line in identities:
        assert line == last.get(offset, -1) + 1
        last[offset] = line


@given(logs)
def test_the_rating_of_a_file_is_the_sum_of_its_ledger_lines(log: Log) -> None:
    entries = meter(PartitionState(0), records(log.values), log.rules).entries
    calls: defaultdict[tuple[str, str, str], int] = defaultdict(int)
    lines: defaultdict[tuple[str, str, str], int] = defaultdict(int)
    money: defaultdict[tuple[str, str], int] = defaultdict(int)
    for entry in entries:
        calls[entry.appid, entry.capability, entry.kind] += entry.calls
        lines[entry.appid, entry.capability, entry.kind] += 1
        if entry.kind == "charge":
            money[entry.appid, entry.capability] += entry.amount_micro_yuan
    rating = rate(log.values, log.rules)
    for appid, app in rating.apps.items():
        for capability, use in app.items():
            if isinstance(use, CapabilityReport):
                place = (appid, capability)
                assert use.charged == calls[*place, "charge"]
                assert use.trial_charged == calls[*place, "trial_charge"]
                assert use.free == calls[*place, "free"]
                assert use.exempt == calls[*place, "exempt"]
                assert use.uncovered == calls[*place, "uncovered"]
                assert use.succeeded == (
                    use.charged + use.trial_charged + use.free + use.exempt + use.uncovered
                )
                assert use.denied == lines[*place, "denied"]
                assert use.failed == lines[*place, "failed"]
                assert use.duplicates == lines[*place, "duplicate"]
                assert use.amount_micro_yuan == money[place] == sum(p.amount_micro_yuan for p in use.packs)
                assert sum(p.calls for p in use.packs) == calls[*place, "purchase"]
                assert sum(p.lapsed for p in use.packs) == calls[*place, "lapse"]
    assert rating.rejected == lines["", "", "rejection"]


@given(logs)
def test_apps_spread_over_partitions_fare_as_in_one_log(log: Log) -> None:
    """Invalid records and ticks, which belong to no app, are in both. The horizon is the partition's own."""
    rules = replace(log.rules, remembered_ids_max=10**6, duplicate_window_ms=10**12)
    whole = rate(log.values, rules)
    for app in ("wx-a", "wx-b"):
        other = b'"subject": "wx-b"' if app == "wx-a" else b'"subject": "wx-a"'
        alone = rate([value for value in log.values if other not in value], rules)
        assert alone.apps.get(app) == whole.apps.get(app)
        assert alone.rejected == whole.rejected


@given(logs)
def test_ledger_records_carry_every_line_in_order(log: Log) -> None:
    entries = meter(PartitionState(0), records(log.values), log.rules).entries
    rows = [row for value in encode_records(0, entries) for row in msgspec.json.decode(value)["rows"]]
    assert rows == msgspec.to_builtins(entries)


def test_a_record_that_was_left_out_is_an_error_that_names_it() -> None:
    state = PartitionState(3, next_offset=7)
    with pytest.raises(OffsetGapError, match="partition 3: offset 7 comes next, but 9 was delivered") as gap:
        meter(state, records([succeeded(0)], 9), Rules())
    assert (gap.value.expected, gap.value.got) == (7, 9)


def test_a_stretch_that_begins_ahead_of_the_state_is_an_error_whatever_offset_its_first_record_has() -> None:
    state = PartitionState(3, next_offset=7)
    with pytest.raises(OffsetGapError, match="partition 3: offset 7 comes next, but 8 was delivered"):
        meter(state, RecordRange(records([succeeded(0)], 9), 8, 10), Rules())


@given(logs, cut_places, st.lists(st.integers(0, 3), min_size=1))
def test_offsets_of_a_stretch_that_have_no_record_change_nothing_but_the_offsets(
    log: Log, cuts: list[int], gaps: list[int]
) -> None:
    """Gaps as of control records, aborted records and compaction; ranges may also begin before the state."""
    whole = meter(PartitionState(0), records(log.values), log.rules)
    state, entries, at = PartitionState(0), list[Entry](), 0
    for number, batch in enumerate(batches(log, cuts)):
        moved, begin = [], at
        for place, record in enumerate(batch):
            at += gaps[place % len(gaps)]
            moved.append(msgspec.structs.replace(record, offset=at))
            at += 1
        at += gaps[number % len(gaps)]
        metered = meter(state, RecordRange(moved, begin, at), log.rules)
        assert metered.state.next_offset == at
        again = meter(metered.state, RecordRange(moved, begin, at), log.rules)
        assert (again.state.next_offset, again.entries) == (at, [])
        state, entries = metered.state, entries + metered.entries
    assert lines_of(without_offsets(entries)) == lines_of(without_offsets(whole.entries))
    assert accounts_without_offsets(state) == accounts_without_offsets(whole.state)
