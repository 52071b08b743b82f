"""Corrections in the views: their history, and what is left of the facts that they are about (rule 15)."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from metering.ledger import Entry
from metering.times import from_ms
from sinks.entry_columns import ID_DIGITS_MIN
from tests.dashboards.conftest import Ledger, some_of_everything
from tests.sinks.parts import START_MS, purchase

HASH = "0123456789abcdef" * 4


@pytest.fixture(autouse=True, scope="module")
def restored(ledger: Ledger) -> Iterator[None]:
    """Leave the ledger as the other modules expect it."""
    yield
    ledger.replace(some_of_everything())


def entry(offset: int, kind: Any, line: int = 0, **fields: Any) -> Entry:  # noqa: ANN401 - fields of an entry
    given = {"time_ms": START_MS, "recorded_at_ms": START_MS + offset, "appid": "wx1", **fields}
    return Entry(offset, line, kind, **given)


def call(offset: int, event_id: str, kind: Any = "charge", **fields: Any) -> Entry:  # noqa: ANN401 - as above
    given = {"capability": "quick", "calls": 1, "event_id": event_id, "pack_id": "p1", **fields}
    return entry(offset, kind, **given)


def correction(offset: int, event_id: str, fact: str, *, note: str = "", **changed: object) -> Entry:
    """A correction that voids a fact, or sets some of its fields."""
    said = {"set": changed} if changed else {}
    return entry(
        offset,
        "correction",
        event_id=event_id,
        time_ms=START_MS + offset,
        reason="set" if changed else "void",
        source="/shop",
        details=json.dumps({"event_id": fact, "note": note, **said}),
    )


def settled(offset: int, as_of: int, *, done: bool = True) -> list[Entry]:
    """A settlement, after which something is left to settle or not."""
    entries = [entry(offset, "settlement", details=json.dumps({"as_of": as_of, "moves": 0, "refunds": 0}))]
    return entries if done else [*entries, entry(offset, "unsettled", 9, reason="settlement")]


def terms(offset: int, line: int, pack_id: str, calls: int, capability: str = "quick", of: str = "") -> Entry:
    """An entry by which a settlement takes a pack away, or adds it with other terms."""
    ordinary = json.loads(purchase("wx1", pack_id, 0, calls=abs(calls)).details)
    return entry(
        offset,
        "purchase",
        line,
        capability=capability,
        pack_id=pack_id,
        calls=calls,
        reason="settled",
        details=json.dumps(ordinary | ({"of": of} if of else {})),
    )


def states(ledger: Ledger) -> dict[str, tuple[Any, ...]]:
    found = ledger.query("SELECT event_id, fact_kind, action, state, holds FROM corrections")
    return {event_id: tuple(told) for event_id, *told in found}


def test_a_correction_is_told_with_its_fact_and_when_the_figures_had_it(ledger: Ledger) -> None:
    ledger.replace(
        [
            call(1, HASH[:ID_DIGITS_MIN]),
            correction(2, "c1", HASH, note="a test"),
            *settled(3, 1),
            *settled(4, 2, done=False),
            *settled(5, 4),
            *settled(6, 5),
        ]
    )
    (found,) = ledger.query(
        "SELECT appid, event_id, corrects, fact_id, fact_kind, action, fields, note, source, recorded_at, "
        "state, settled_at, holds FROM corrections"
    )
    assert found == (
        "wx1", "c1", HASH, HASH[:ID_DIGITS_MIN], "call", "void", "", "a test", "/shop",
        from_ms(START_MS + 2), "settled", from_ms(START_MS + 5), True,
    )  # fmt: skip
    assert ledger.query("SELECT event_id, corrected FROM authorizations") == [(HASH[:ID_DIGITS_MIN], "void")]


def test_the_first_settlement_that_knew_of_a_correction_has_it_whatever_the_next_ones_knew(
    ledger: Ledger,
) -> None:
    told = [call(1, "e1"), correction(2, "c1", "e1")]
    ledger.replace([*told, *settled(4, 1), *settled(5, 9), *settled(6, 4)])
    assert ledger.query("SELECT settled_at FROM corrections") == [(from_ms(START_MS + 5),)]


def test_a_correction_waits_for_its_fact_then_for_the_settlement(ledger: Ledger) -> None:
    early = [correction(1, "c1", "late", store="store-2"), *settled(2, 1)]
    ledger.replace(early)
    assert states(ledger) == {"c1": ("", "set", "waiting", True)}
    ledger.replace([*early, call(3, "late"), *settled(4, 2)])
    assert states(ledger) == {"c1": ("call", "set", "unsettled", True)}
    ledger.replace([*early, call(3, "late"), *settled(4, 2), *settled(5, 3)])
    assert states(ledger) == {"c1": ("call", "set", "settled", True)}


def test_a_correction_that_a_later_one_voids_does_not_hold_until_that_one_is_void(ledger: Ledger) -> None:
    told = [call(1, "e1"), correction(2, "c1", "e1"), correction(3, "c2", "c1")]
    ledger.replace(told)
    assert {event_id: holds for event_id, (*_, holds) in states(ledger).items()} == {"c1": False, "c2": True}
    ledger.replace([*told, correction(4, "c3", "c2")])
    assert {event_id: holds for event_id, (*_, holds) in states(ledger).items()} == {
        "c1": True,
        "c2": False,
        "c3": True,
    }


def test_a_correction_is_not_void_by_an_earlier_one_nor_by_one_of_another_app(ledger: Ledger) -> None:
    earlier = [correction(2, "c2", "c1"), correction(3, "c1", "e1")]
    elsewhere = [replace(correction(4, "c3", "c1"), appid="wx2"), replace(call(5, "c1"), appid="wx2")]
    ledger.replace([call(1, "e1"), *earlier, *elsewhere])
    assert [holds for *_, holds in states(ledger).values()] == [True, True, True]


def test_a_call_that_is_void_stays_an_authorization_and_is_no_call(ledger: Ledger) -> None:
    told = [
        call(1, "e1"),
        call(2, "e2", "uncovered", pack_id=""),
        call(3, "e3", amount_micro_yuan=30_000),
        correction(4, "c1", "e1"),
        correction(5, "c2", "e2"),
    ]
    ledger.replace(told)
    asked = "SELECT event_id, charged_to, calls, corrected FROM authorizations ORDER BY event_id"
    assert ledger.query(asked) == [("e1", "pack", 1, ""), ("e2", "uncovered", 1, ""), ("e3", "pack", 1, "")]
    ledger.replace([*told, *settled(6, 5)])
    assert ledger.query(asked) == [("e1", "", 0, "void"), ("e2", "", 0, "void"), ("e3", "pack", 1, "")]


def test_a_call_that_was_set_is_where_its_corrections_put_it(ledger: Ledger) -> None:
    ledger.replace(
        [
            call(1, "e1", store="store-1", scene="cart", recorded_at_ms=START_MS + 7),
            correction(2, "c1", "e1", capability="realtime", store=""),
            correction(3, "c2", "e1", time="2024-05-31T10:00:00.250+08:00", scene="cards"),
            correction(4, "c3", "e1", scene="home"),
            correction(5, "c4", "c3"),
            *settled(6, 5),
        ]
    )
    found = ledger.query(
        "SELECT capability, time, store, scene, calls, corrected, toUnixTimestamp64Milli(recorded_at) "
        "FROM authorizations"
    )
    moment = from_ms(1_717_120_800_250)
    assert found == [("realtime", moment, "", "cards", 1, "set", START_MS + 7)]


def test_an_uncovered_call_that_is_void_is_the_one_that_is_gone(ledger: Ledger) -> None:
    uncovered = [
        call(n, f"e{n}", "uncovered", pack_id="", reason="no_pack", time_ms=START_MS + n) for n in (1, 2, 3)
    ]
    moved = call(5, "s", "uncovered", pack_id="", calls=-1, reason="settled")
    ledger.replace([*uncovered, correction(4, "c1", "e2"), *settled(5, 4), *settled(6, 5)])
    assert len(ledger.query("SELECT * FROM uncovered")) == 3
    ledger.replace([*uncovered, correction(4, "c1", "e2"), moved, *settled(6, 5)])
    assert ledger.query("SELECT event_id FROM uncovered ORDER BY event_id") == [("e1",), ("e3",)]


def test_a_pack_has_the_terms_of_its_newest_purchase(ledger: Ledger) -> None:
    bought = purchase("wx1", "p1", 1, calls=250)
    ledger.replace(
        [
            bought,
            call(2, "e1"),
            call(3, "s", calls=-1, reason="settled"),
            terms(3, 1, "p1", -250),
            terms(3, 2, "p1", 1_000, "realtime", bought.event_id),
            *settled(4, 3),
        ]
    )
    assert ledger.query("SELECT capability, pack_id, calls, charged, remaining, status FROM packs") == [
        ("realtime", "p1", 1_000, 0, 1_000, "active")
    ]
    assert ledger.query("SELECT capability, packs_size FROM balances_now ORDER BY capability") == [
        ("quick", 0),
        ("realtime", 1_000),
    ]
    burnt = ledger.query("SELECT DISTINCT capability, pack_burndown.calls FROM pack_burndown")
    assert burnt == [("realtime", 1_000)]
    orders = ledger.query("SELECT capability, pack_id, calls, status, corrected, event_id FROM orders")
    assert orders == [("realtime", "p1", 1_000, "paid", True, bought.event_id)]


def test_a_purchase_that_is_void_leaves_an_order_and_no_pack(ledger: Ledger) -> None:
    bought, other = purchase("wx1", "p1", 1, calls=250), purchase("wx1", "p2", 2, calls=250)
    again = entry(
        3, "purchase_refused", capability="quick", pack_id="p2", reason="known_pack", event_id="again",
        details=other.details,
    )  # fmt: skip
    ledger.replace(
        [bought, other, again, correction(4, "c1", bought.event_id), terms(5, 0, "p1", -250), *settled(6, 5)]
    )
    assert ledger.query("SELECT pack_id FROM packs") == [("p2",)]
    assert ledger.query("SELECT pack_id FROM pack_burndown GROUP BY pack_id") == [("p2",)]
    assert ledger.query(
        "SELECT event_id, status, refused_because, corrected FROM orders ORDER BY event_id"
    ) == sorted(
        [
            (bought.event_id, "void", "", True),
            (other.event_id, "paid", "", False),
            ("again", "refused", "known_pack", False),
        ]
    )


def test_the_pack_of_a_void_purchase_may_be_that_of_another_one(ledger: Ledger) -> None:
    bought = purchase("wx1", "p1", 1, calls=250)
    again = entry(
        2, "purchase_refused", capability="quick", pack_id="p1", reason="known_pack", event_id=HASH[:16],
        details=bought.details,
    )  # fmt: skip
    ledger.replace(
        [
            bought,
            again,
            correction(3, "c1", bought.event_id),
            terms(4, 0, "p1", -250),
            terms(4, 1, "p1", 10, of=HASH),
            *settled(5, 4),
        ]
    )
    assert ledger.query("SELECT event_id, calls, status FROM orders ORDER BY event_id") == sorted(
        [(bought.event_id, 250, "void"), (HASH[:16], 10, "paid")]
    )


def registration(offset: int, event_id: str, at_ms: int, name: str, **more: str) -> Entry:
    details = {"name": name, "entity_type": "company" if name else "", "category": "", **more}
    return entry(
        offset, "registration", event_id=event_id, time_ms=START_MS + at_ms, reason="charged",
        details=json.dumps(details),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("entries", "name"),
    [
        ([registration(1, "a", 5, "new"), registration(2, "b", 4, "old")], "new"),
        ([registration(1, "b", 5, "second"), registration(2, "a", 5, "first")], "second"),
        ([registration(1, "a", 5, "void"), registration(2, "s", 0, "", of="")], ""),
        (
            [
                registration(1, "a", 4, "old"),
                registration(2, "b", 5, "void"),
                registration(3, "s", 4, "old", of="a"),
            ],
            "old",
        ),
        (
            [
                registration(1, "a", 4, "void"),
                registration(2, "s", 3, "settled", of="a"),
                registration(3, "b", 2, "older"),
                registration(4, "c", 6, "newer"),
            ],
            "newer",
        ),
    ],
)
def test_the_owner_is_the_one_of_the_registration_that_holds(
    ledger: Ledger, entries: list[Entry], name: str
) -> None:
    ledger.replace([entry(0, "trial_grant", calls=1_000), *entries])
    ((found, registered),) = ledger.query("SELECT name, registered_at IS NOT NULL FROM apps")
    assert (found, registered) == (name, int(name != ""))
