"""The durable form of a state: small items, of which a batch rewrites only what it changed."""

import pytest

from metering import state_items, uncovered
from metering.accounts import decode_account, encode_account
from metering.burn_rate import CLIENTS_MAX
from metering.events import CAPABILITIES
from metering.ledger import RECORD_BYTES_MAX
from metering.partition import meter
from metering.partition_state import PartitionState
from metering.remembered_ids import CHUNK_IDS
from metering.routing_policy import STORE_BUDGETS_MAX
from metering.rules import Rules
from metering.state_items import (
    CHUNK_ACCOUNTS,
    PACKS_TOGETHER_MAX,
    StateHeader,
    changed_items,
    header_of,
    restore,
)
from metering.topics import PUBLISHED_BYTES_MAX
from metering.uncovered import CHUNK_CALLS
from tests.metering.building import (
    APP,
    DAY_MS,
    alerting_set,
    at,
    corrected,
    denied,
    purchased,
    records,
    refunded,
    registered,
    routing_set,
    settled,
    succeeded,
    ticked,
)

RULES = Rules(trial_calls=0, duplicate_window_ms=DAY_MS)
LONGEST = "𠮷" * 120
"""An id of about the greatest length, of letters with four bytes."""


class Kept:
    """A state and its stored items."""

    def __init__(self) -> None:
        self.state = PartitionState(5)
        self.items: dict[str, bytes] = {}

    def on(self, *values: bytes) -> dict[str, bytes | None]:
        metered = meter(self.state, records(values, self.state.next_offset), RULES)
        items = changed_items(self.state, metered.state, metered.changes)
        for key, item in items.items():
            if item is None:
                del self.items[key]
            else:
                self.items[key] = item
        self.state = metered.state
        return items

    def restored(self) -> PartitionState:
        return restore(5, header_of(self.state), self.items)


def assert_restorable(kept: Kept) -> None:
    back = kept.restored()
    assert back.accounts == kept.state.accounts
    assert dict(back.uncovered) == {
        place: calls for place, calls in kept.state.uncovered.items() if calls.chunks
    }
    assert (back.partition, back.next_offset, back.tick_ms) == (5, kept.state.next_offset, kept.state.tick_ms)
    assert (back.ids.first_chunk, back.ids.newest_ms, back.ids.tail) == (
        kept.state.ids.first_chunk,
        kept.state.ids.newest_ms,
        kept.state.ids.tail,
    )


def test_of_nothing_an_empty_state_is_restored() -> None:
    state = restore(3, StateHeader(), {})
    assert state == PartitionState(3)


def test_a_batch_keeps_the_accounts_it_touched_and_the_ids_it_saw() -> None:
    kept = Kept()
    kept.on(denied(at(1)), succeeded(at(1), app="wx-b"))
    assert kept.on(succeeded(at(1), app="wx-b")).keys() == {"accounts/0", "uncovered/wx-b/quick/0", "ids/0"}


def test_only_the_accounts_that_share_an_item_with_a_touched_one_are_kept_again() -> None:
    kept = Kept()
    apps = [f"wx-{number}" for number in range(2 * CHUNK_ACCOUNTS + 1)]
    kept.on(*[succeeded(at(1), app=app) for app in apps])
    assert {key for key in kept.items if key.startswith("account")} == {
        f"accounts/{chunk}" for chunk in range(3)
    }
    assert kept.on(succeeded(at(1), app=apps[CHUNK_ACCOUNTS])).keys() == {
        "accounts/1",
        "uncovered/wx-4/quick/0",
        "ids/0",
    }
    assert_restorable(kept)


def test_apps_are_numbered_in_the_order_of_their_arrival_however_the_log_is_cut() -> None:
    values = [succeeded(at(1), app=app) for app in ("wx-c", "wx-a", "wx-c", "wx-b", "wx-d")]
    for cut in range(len(values) + 1):
        kept = Kept()
        kept.on(*values[:cut])
        kept.state = kept.restored()
        kept.on(*values[cut:])
        numbers = {account.appid: account.number for account in kept.state.accounts.values()}
        assert numbers == {"wx-c": 0, "wx-a": 1, "wx-b": 2, "wx-d": 3}


def test_an_account_with_many_packs_becomes_an_item_by_itself_and_is_kept_only_when_it_is_touched() -> None:
    kept = Kept()
    kept.on(succeeded(at(1), app="wx-b"), *[purchased(at(0), f"pack-{n}") for n in range(PACKS_TOGETHER_MAX)])
    assert f"account/{APP}/0" not in kept.items
    together = kept.items["accounts/0"]
    items = kept.on(purchased(at(0), "one more"))
    assert items.keys() == {"accounts/0", f"account/{APP}/0", "ids/0"}
    assert len(kept.items["accounts/0"]) < len(together)
    assert kept.on(succeeded(at(1), app="wx-b")).keys() == {"accounts/0", "uncovered/wx-b/quick/0", "ids/0"}
    assert_restorable(kept)


def test_an_account_by_itself_stays_so_when_a_correction_takes_a_pack_away() -> None:
    """Otherwise what was stored of it before would be restored as well."""
    kept = Kept()
    kept.on(*[purchased(at(0), f"pack-{n}", event_id=f"buy-{n}") for n in range(PACKS_TOGETHER_MAX + 1)])
    kept.on(corrected(at(1), "buy-0", void=True))
    kept.on(settled(at(0), as_of=PACKS_TOGETHER_MAX + 1, removed=["pack-0"]))
    assert len(kept.state.accounts[APP].quick.packs) == PACKS_TOGETHER_MAX
    assert kept.restored().accounts == kept.state.accounts


def test_accounts_that_share_an_item_stay_far_below_what_a_record_may_have() -> None:
    kept = Kept()
    budgets = [{"store": f"{n:02}{LONGEST[:62]}", "calls": n} for n in range(STORE_BUDGETS_MAX)]
    for app in (f"wx-{number:061}" for number in range(CHUNK_ACCOUNTS)):
        kept.on(
            *[purchased(at(0), f"{n:02}{LONGEST}", app=app) for n in range(PACKS_TOGETHER_MAX)],
            *[succeeded(at(1), client=f"{n}{LONGEST}", app=app) for n in range(CLIENTS_MAX)],
            *[routing_set(at(1), app=app, capability=one, store_budgets=budgets) for one in CAPABILITIES],
        )
    assert {key for key in kept.items if key.startswith("account")} == {"accounts/0"}
    assert CHUNK_ACCOUNTS * PACKS_TOGETHER_MAX * 1_000 < len(kept.items["accounts/0"]) < RECORD_BYTES_MAX / 2


def test_an_account_with_more_packs_than_a_record_can_hold_is_kept_in_pieces() -> None:
    kept = Kept()
    for first in range(0, 2_000, 500):
        kept.on(*[purchased(at(0), f"{n:04}{LONGEST[:118]}") for n in range(first, first + 500)])
    pieces = {key: len(item) for key, item in kept.items.items() if key.startswith("account/")}
    assert pieces.keys() == {f"account/{APP}/{number}" for number in range(2)}
    assert max(pieces.values()) < PUBLISHED_BYTES_MAX * 0.6
    assert_restorable(kept)


def test_a_piece_that_an_account_needs_no_more_is_not_read() -> None:
    kept = Kept()
    kept.on(*[purchased(at(0), f"pack-{n}") for n in range(PACKS_TOGETHER_MAX + 1)])
    kept.items[f"account/{APP}/1"] = b"of an earlier time"
    assert_restorable(kept)


def test_a_tick_for_which_nothing_is_due_keeps_only_the_header() -> None:
    kept = Kept()
    kept.on(purchased(at(0), "pack-1"))
    assert kept.on(ticked(at(1))) == {}
    assert header_of(kept.state) == StateHeader(2, at(1), 0)


def test_a_duplicate_changes_no_item() -> None:
    kept = Kept()
    tap = succeeded(at(1))
    kept.on(tap)
    assert kept.on(tap) == {}


def test_only_the_newest_pieces_are_rewritten() -> None:
    kept = Kept()
    kept.on(*[succeeded(at(1)) for _ in range(2 * CHUNK_IDS)])
    items = kept.on(succeeded(at(1)))
    assert items.keys() == {
        "accounts/0",
        f"uncovered/{APP}/quick/{2 * CHUNK_IDS // CHUNK_CALLS}",
        f"ids/{2}",
    }


def test_a_state_of_everything_is_restored_as_it_was() -> None:
    kept = Kept()
    batches = [
        [registered(at(0), "school", "学历教育"), alerting_set(at(0), levels_percent=[50])],
        [registered(at(0), "company"), *[succeeded(at(1)) for _ in range(600)]],
        [purchased(at(2), "pack-1", calls=300, paid_at=at(0)), purchased(at(2), "pack-2", days=5)],
        [succeeded(at(3), capability="realtime"), refunded(at(3), "pack-2"), ticked(at(4))],
        [purchased(at(4), "pack-3", calls=900, paid_at=at(0)), *[denied(at(5)) for _ in range(700)]],
        [ticked(at(7)), denied(at(8)), succeeded(at(1))],
    ]
    assert_restorable(kept)
    for batch in batches:
        kept.on(*batch)
        assert_restorable(kept)
    assert kept.state.ids.first_chunk > 0


def test_items_of_calls_that_were_taken_over_are_gone() -> None:
    kept = Kept()
    kept.on(*[succeeded(at(1)) for _ in range(CHUNK_CALLS + 1)])
    items = kept.on(purchased(at(2), "pack-1", calls=1_000, paid_at=at(0)))
    assert [key for key, item in items.items() if item is None] == [
        f"uncovered/{APP}/quick/0",
        f"uncovered/{APP}/quick/1",
    ]
    assert_restorable(kept)
    kept.on(succeeded(at(1)), succeeded(at(500)))
    assert_restorable(kept)


def test_items_of_calls_that_were_forgotten_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uncovered, "CALLS_MAX", 2 * CHUNK_CALLS)
    kept = Kept()
    kept.on(*[succeeded(at(1)) for _ in range(2 * CHUNK_CALLS)])
    items = kept.on(succeeded(at(1)))
    assert (items[f"uncovered/{APP}/quick/0"], f"uncovered/{APP}/quick/1" in items) == (None, False)
    assert_restorable(kept)


def test_an_account_comes_back_as_it_was_stored() -> None:
    kept = Kept()
    kept.on(purchased(at(0), "pack-1", calls=1), succeeded(at(1)), alerting_set(at(1), expiry_days=[3]))
    account = kept.state.accounts[APP]
    assert decode_account(encode_account(account)) == account


def test_the_names_of_items_tell_apps_apart() -> None:
    kept = Kept()
    kept.on(*[succeeded(at(1), app=app) for app in ("wx", "wx-1", "WX")])
    assert set(kept.items) == {
        "ids/0",
        "accounts/0",
        *[f"uncovered/{app}/quick/0" for app in ("wx", "wx-1", "WX")],
    }
    assert state_items.restore(5, header_of(kept.state), kept.items).accounts == kept.state.accounts
