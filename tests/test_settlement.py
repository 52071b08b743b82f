"""Late facts on real parts: broker, worker, sink and engine, and settlers that are killed or doubled."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from metering.times import DAY_MS, HOUR_MS, SECOND_MS, parse_time
from phonemeter.settings import load
from phonemeter.stack.services import PORTS
from phonemeter.stack.stack import Stack
from producers.clock import wall_clock_ms
from sinks.connection import connect, rows
from tests.metering.building import assigned, cancelled, event, purchased, registered, succeeded
from tests.real_parts import starts_real_parts
from tests.served import asked, scraped
from tests.sinks.balances.parts import agrees, differing, everything, keeping
from tests.waiting import WITHIN_S, blocking_until


def shanghai(text: str) -> int:
    """Milliseconds of a time in Shanghai."""
    return parse_time(f"{text}+08:00")


@dataclass
class Case:
    """A log of one app in the order of arrival, and what is right.

    Attributes:
        packs: of each, the calls charged, lapsed and refunded.
        elsewhere: calls by kind that no pack was charged for.
    """

    events: list[bytes]
    packs: dict[str, tuple[int, int, int]]
    elsewhere: dict[str, int] = field(default_factory=dict)


def calls(appid: str, first: str, count: int, every: timedelta) -> list[bytes]:
    """So many calls, from a time on."""
    start = datetime.fromisoformat(first)
    return [
        succeeded(
            shanghai((start + number * every).isoformat()), app=appid, event_id=f"{appid}-{first}-{number}"
        )
        for number in range(count)
    ]


def pack(
    appid: str, pack_id: str, paid_at: str, size: int, days: int = 90, *, recorded_at: str | None = None
) -> bytes:
    """The purchase of a pack, recorded when it was paid unless said otherwise."""
    paid_ms = shanghai(paid_at)
    recorded_ms = paid_ms if recorded_at is None else shanghai(recorded_at)
    price = 30_000 * size
    return purchased(
        recorded_ms, pack_id, calls=size, days=days, price=price, paid_at=paid_ms, app=appid,
        event_id=f"{appid}-{pack_id}",
    )  # fmt: skip


def late_call_at_a_top_up(appid: str) -> Case:
    """A call from before a top-up arrives after one from after it."""
    return Case(
        [
            pack(appid, "P1", "2026-06-01T09:00:00", 1),
            pack(appid, "P2", "2026-06-10T10:00:00", 1),
            *calls(appid, "2026-06-10T10:00:05", 1, timedelta()),
            *calls(appid, "2026-06-10T09:59:50", 1, timedelta()),
        ],
        {"P1": (1, 0, 0), "P2": (1, 0, 0)},
    )


def backlog_of_one_back_end(appid: str) -> Case:
    """The queue of one back end comes after the calls of the others."""
    return Case(
        [
            pack(appid, "P1", "2026-06-01T09:00:00", 50),
            pack(appid, "P2", "2026-06-10T10:00:00", 250),
            *calls(appid, "2026-06-10T10:00:01", 60, timedelta(seconds=1)),
            *calls(appid, "2026-06-10T09:58:20", 40, timedelta(seconds=1)),
        ],
        {"P1": (50, 0, 0), "P2": (50, 0, 0)},
    )


def history(appid: str, *, packs_first: bool) -> Case:
    """Calls and a pack of the year before are recorded after today's."""
    old = [pack(appid, "H1", "2025-01-10T10:00:00", 250)]
    used = calls(appid, "2025-01-15T10:00:00", 60, timedelta(days=1))
    today = [
        pack(appid, "L1", "2026-06-01T00:00:00", 1_000, 365),
        *calls(appid, "2026-06-02T12:00:00", 1, timedelta()),
    ]
    late = [*old, *used] if packs_first else [*used, *old]
    return Case([*today, *late], {"H1": (60, 190, 0), "L1": (1, 0, 0)})


def late_pack_that_expires_first(appid: str) -> Case:
    """A pack is typed in ten days after it was paid; it would have been used before the other one."""
    return Case(
        [
            pack(appid, "YEAR", "2026-06-01T10:00:00", 1_000, 365),
            *calls(appid, "2026-06-05T10:00:00", 100, timedelta(hours=1)),
            pack(appid, "SHORT", "2026-06-02T10:00:00", 250, recorded_at="2026-06-12T10:00:00"),
            *calls(appid, "2026-09-05T10:00:00", 1, timedelta()),
        ],
        {"SHORT": (100, 150, 0), "YEAR": (1, 0, 0)},
    )


def owner_told_late(appid: str) -> Case:
    """An exempt owner is recorded after calls that were made since."""
    return Case(
        [
            pack(appid, "P1", "2026-06-01T10:00:00", 250),
            *calls(appid, "2026-06-05T10:00:00", 5, timedelta(hours=1)),
            registered(shanghai("2026-06-02T00:00:00"), "政府", app=appid),
            *calls(appid, "2026-06-06T10:00:00", 1, timedelta()),
        ],
        {"P1": (0, 0, 0)},
        {"exempt": 6},
    )


def assigned_by_an_agency(appid: str, at: str, *, is_cancelled: bool) -> Case:
    """A pack that was paid long before it was assigned; its cancellation comes first, and is given."""
    at_ms = shanghai(at)
    assignment = assigned(
        at_ms, "ZY1", calls=10_000, days=365, price=260_000_000, app=appid, event_id=f"{appid}-ZY1",
        paid_at=shanghai("2026-01-01T10:00:00"),
    )  # fmt: skip
    call = calls(appid, "2026-03-06T10:00:00", 1, timedelta())
    if is_cancelled:
        cancellation = cancelled(shanghai("2026-03-05T10:00:00"), "ZY1", app=appid)
        return Case([*call, cancellation, assignment], {"ZY1": (0, 0, 10_000)}, {"uncovered": 1})
    return Case([*call, assignment], {"ZY1": (1, 0, 0)})


def assigned_again(appid: str) -> Case:
    """A pack that was given back and assigned to the same app again; the cancellation is recorded last."""

    def assignment(at: str) -> bytes:
        return assigned(shanghai(at), "ZY1", calls=10, days=365, app=appid, event_id=f"{appid}-{at}")

    cancellation = cancelled(shanghai("2026-03-05T10:00:00"), "ZY1", app=appid)
    call = calls(appid, "2026-03-08T10:00:00", 1, timedelta())
    first, again = assignment("2026-03-02T10:00:00"), assignment("2026-03-07T10:00:00")
    return Case([first, again, *call, cancellation], {"ZY1": (1, 0, 0)})


CASES: dict[str, Case] = {
    "wx-agency-again": assigned_again("wx-agency-again"),
    "wx-agency-first": assigned_by_an_agency("wx-agency-first", "2026-03-02T10:00:00", is_cancelled=True),
    "wx-agency-then": assigned_by_an_agency("wx-agency-then", "2026-03-05T10:05:00", is_cancelled=False),
    "wx-top-up": late_call_at_a_top_up("wx-top-up"),
    "wx-backlog": backlog_of_one_back_end("wx-backlog"),
    "wx-history-packs-first": history("wx-history-packs-first", packs_first=True),
    "wx-history-calls-first": history("wx-history-calls-first", packs_first=False),
    "wx-late-pack": late_pack_that_expires_first("wx-late-pack"),
    "wx-owner": owner_told_late("wx-owner"),
}


@pytest.fixture(scope="module")
@starts_real_parts
def stack(tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> Iterator[Stack]:
    """A stack without a settler and without trial quota, in events' time."""
    ports = {name: free_port() for names in PORTS.values() for name in names}
    settings = load(
        data_dir=tmp_path_factory.mktemp("stack"),
        clock="events",
        trial_calls=0,
        settler_interval_ms=200,
        settler_follow_s=1,
        settle_horizon_d=800,
        **ports,
    )
    with Stack(settings, only=("kafka", "engine", "worker", "sink")) as running:
        yield running


class SettlerProcess(subprocess.Popen[bytes]):
    """A settler as a process, with its log in the stack's directory."""

    def __init__(self, stack: Stack, port: int, at: str = "") -> None:
        self.port = port
        environ = {**os.environ, **stack.settings.replaced(settler_port=port).to_environ()}
        command = [sys.executable, "-m", "tests.sinks.settler.run_settler", at]
        with stack.directory.log("settler").open("ab") as log:
            super().__init__(command, env=environ, stdout=log, stderr=log)

    def ended(self) -> bool:
        return self.poll() is not None


@contextmanager
def settler(stack: Stack, port: int) -> Iterator[SettlerProcess]:
    """A settler that ends in order."""
    process = SettlerProcess(stack, port)
    try:
        yield process
    finally:
        process.terminate()
        assert process.wait(WITHIN_S) == 0


def phonemeter(stack: Stack, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "phonemeter", *map(str, arguments)],
        env={**os.environ, **stack.settings.to_environ()},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def emit(stack: Stack, file: Path, events: list[bytes]) -> None:
    file.write_bytes(b"\n".join(events) + b"\n")
    done = phonemeter(stack, "emit", file)
    assert done.returncode == 0, done.stderr


def stored(stack: Stack, query: str, **parameters: object) -> list[tuple[Any, ...]]:
    with connect(stack.settings.clickhouse) as client:
        return rows(client, query, parameters)


def is_unsettled(stack: Stack, appid: str) -> bool:
    return bool(stored(stack, "SELECT 1 FROM unsettled WHERE appid = %(appid)s", appid=appid))


def is_metered(stack: Stack, appid: str, case: Case) -> bool:
    """True once the entries of all events of a case are stored."""
    query = (
        "SELECT uniqExact(event_id) FROM ledger WHERE appid = %(appid)s AND event_id != '' "
        "AND kind NOT IN ('settlement', 'settlement_refused') AND reason != 'settled'"
    )
    ((count,),) = stored(stack, query, appid=appid)
    return int(count) >= len(case.events)


def is_right(stack: Stack, appid: str, case: Case) -> bool:
    """Return whether an app is settled, and all its figures are right."""
    packs = stored(
        stack,
        "SELECT pack_id, charged, lapsed, refunded FROM packs WHERE appid = %(appid)s",
        appid=appid,
    )
    elsewhere = stored(
        stack,
        "SELECT kind, sum(calls) FROM ledger WHERE appid = %(appid)s "
        "AND kind IN ('trial_charge', 'free', 'exempt', 'uncovered') GROUP BY kind HAVING sum(calls) != 0",
        appid=appid,
    )
    return (
        is_metered(stack, appid, case)
        and not is_unsettled(stack, appid)
        and {pack_id: tuple(figures) for pack_id, *figures in packs} == case.packs
        and {str(kind): calls for kind, calls in elsewhere} == case.elsewhere
    )


def told_by_the_platform(appid: str) -> list[bytes]:
    """An app whose count the platform has told, between calls of today, and which it refused."""
    now_ms = wall_clock_ms()
    seen = [
        succeeded(now_ms - back_ms, app=appid, event_id=f"{appid}-{back_ms}", store="store-1")
        for back_ms in (9_000, 7_000, 3_000, 1_000)
    ]
    bought = purchased(now_ms - DAY_MS, "P1", calls=10, price=1_000, days=90, app=appid)
    counted = [observed(appid, now_ms - 5_000, 7), observed(appid, now_ms - 8_000, 2)]
    data = {"capability": "quick", "errno": 1_400_001}
    refused = event("phone.authorization.failed", now_ms - 2_000, data, app=appid)
    policy = event("account.routing_set", now_ms, {"capability": "quick", "reserve_calls": 3}, app=appid)
    return [bought, *seen[:2], *counted, *seen[2:], refused, policy]


def is_clean(stack: Stack) -> bool:
    return phonemeter(stack, "audit").returncode == 0


def test_late_facts_end_settled_within_a_minute_and_the_audit_agrees(
    stack: Stack, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    port, clickhouse = free_port(), stack.settings.clickhouse
    with settler(stack, port), keeping(stack.settings.kafka, clickhouse) as following:
        blocking_until(lambda: following.memory is not None, what="the balances are in memory")
        told = told_by_the_platform("wx-told")
        emit(
            stack,
            tmp_path / "events.jsonl",
            [*(each for case in CASES.values() for each in case.events), *told],
        )
        blocking_until(lambda: all(is_right(stack, appid, case) for appid, case in CASES.items()))
        blocking_until(lambda: scraped(port).get("phonemeter_settler_unsettled_apps") == 0)
        blocking_until(lambda: asked(port, "/healthz")[1]["state"] == "healthy")
        applied = scraped(port)['phonemeter_settler_settlements_total{outcome="applied"}']
        assert applied >= len(CASES)
        # The balances in memory, followed entry by entry or read as they are now, are those of the views.
        blocking_until(lambda: agrees(following, clickhouse), what=str(differing(following, clickhouse)))
    with keeping(stack.settings.kafka, clickhouse) as anew:
        blocking_until(lambda: agrees(anew, clickhouse), what="what is read anew is the same")
        assert anew.memory is not None
        assert following.memory is not None
        known = everything(anew.memory)
        assert known == everything(following.memory)
        assert known["wx-told", "quick"][1].policy.reserve_calls == 3
    assert is_clean(stack)


@pytest.mark.parametrize("at", ["read", "published"])
def test_a_settler_that_is_killed_costs_only_a_round(
    stack: Stack, tmp_path: Path, free_port: Callable[[], int], at: str
) -> None:
    appid = f"wx-killed-{at}"
    case = late_pack_that_expires_first(appid)
    emit(stack, tmp_path / "events.jsonl", case.events)
    dying = SettlerProcess(stack, free_port(), at)
    blocking_until(dying.ended)
    # What it has published settles the app without it, at once.
    assert at == "published" or is_unsettled(stack, appid)
    with settler(stack, free_port()):
        blocking_until(lambda: is_right(stack, appid, case))
    assert is_clean(stack)


def test_two_settlers_at_once_come_to_the_same(
    stack: Stack, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    cases = {
        **{f"wx-double-{n}": late_pack_that_expires_first(f"wx-double-{n}") for n in range(4)},
        **{f"wx-double-{n}": backlog_of_one_back_end(f"wx-double-{n}") for n in range(4, 8)},
    }
    with settler(stack, free_port()), settler(stack, free_port()):
        for number, (appid, case) in enumerate(cases.items()):
            emit(stack, tmp_path / f"{number}.jsonl", case.events)
            assert appid
        blocking_until(lambda: all(is_right(stack, appid, case) for appid, case in cases.items()))
    assert is_clean(stack)


def test_a_difference_to_the_platforms_count_is_booked_where_the_app_follows_it(
    stack: Stack, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    """Three of seven callbacks were lost. Settlers are killed before and after they publish, or doubled."""
    appid = "wx-follows"
    seen_ms = wall_clock_ms() + 30 * SECOND_MS
    bought = purchased(seen_ms - DAY_MS, "P1", calls=10, price=1_000, days=90, app=appid)
    heard = [
        succeeded(seen_ms - number, app=appid, event_id=f"{appid}-{number}", store="store-1")
        for number in range(4)
    ]
    emit(stack, tmp_path / "heard.jsonl", [bought, *heard, observed(appid, seen_ms, 7)])
    blocking_until(
        lambda: bool(stored(stack, "SELECT 1 FROM agreement WHERE appid = %(appid)s", appid=appid))
    )
    set_policy = phonemeter(stack, "reconcile", appid, "--policy", "follow")
    assert (set_policy.returncode, "policy follow" in set_policy.stderr) == (0, True), set_policy.stderr
    blocking_until(lambda: wall_clock_ms() > seen_ms)
    emit(stack, tmp_path / "again.jsonl", [observed(appid, seen_ms + HOUR_MS, 7), bought])
    for at in ("read", "published"):
        dying = SettlerProcess(stack, free_port(), at)
        blocking_until(dying.ended)
    with settler(stack, free_port()), settler(stack, free_port()):
        blocking_until(lambda: charged_by_store(stack, appid) == {"store-1": 4, "": 3})
        blocking_until(lambda: not is_unsettled(stack, appid))
    ((charged, cost),) = stored(
        stack, "SELECT charged, amount_micro_yuan FROM packs WHERE appid = %(appid)s", appid=appid
    )
    assert (charged, cost) == (7, 700)
    told = json.loads(phonemeter(stack, "reconcile", appid, "--json").stdout)
    assert (told["policy"], told["followed"]) == ("follow", 3)
    assert [quota["difference"] for quota in told["quotas"]] == [0]
    assert is_clean(stack)


def observed(appid: str, at_ms: int, used: int) -> bytes:
    data = {"capability": "quick", "pack_id": "P1", "used": used, "size": 10}
    return event("platform.usage_observed", at_ms, data, app=appid)


def charged_by_store(stack: Stack, appid: str) -> dict[str, int]:
    query = (
        "SELECT store, sum(calls) FROM ledger WHERE appid = %(appid)s AND kind = 'charge' "
        "GROUP BY store HAVING sum(calls) != 0"
    )
    return dict(stored(stack, query, appid=appid))


def test_what_may_still_change_is_said_by_a_word(stack: Stack, tmp_path: Path) -> None:
    appid = "wx-waits"
    case = owner_told_late(appid)
    emit(stack, tmp_path / "events.jsonl", case.events)
    blocking_until(lambda: is_unsettled(stack, appid))
    told = json.loads(phonemeter(stack, "balance", appid, "--json").stdout)
    assert told["unsettled_from"] == "2026-06-01T16:00:00.000Z"
    shown = phonemeter(stack, "balance", appid).stdout
    assert "unsettled: a fact arrived late, and figures from 2026-06-02 00:00 on may still change" in shown
    apps = json.loads(phonemeter(stack, "apps", "--json").stdout)["apps"]
    assert {app["appid"]: app["unsettled_from"] for app in apps}[appid] == told["unsettled_from"]
