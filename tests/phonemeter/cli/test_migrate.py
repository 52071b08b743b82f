"""`phonemeter migrate`: what moves to the new appid, and that it can be interrupted anywhere (rule 16)."""

import secrets
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from metering.rules import Rules
from metering.times import format_time
from phonemeter.cli import migrate as command
from phonemeter.stack.stack import Stack
from producers.clock import wall_clock_ms
from producers.events import CloudEvent, to_json
from tests.conftest import RunningEngine
from tests.metering.building import (
    DAY_MS,
    Play,
    alerting_set,
    assigned,
    corrected,
    id_of,
    opened,
    purchased,
    registered,
    routing_set,
    succeeded,
)
from tests.metering.settler import Settler
from tests.phonemeter.audit.parts import settled
from tests.phonemeter.cli.calling import Done, Phonemeter
from tests.phonemeter.cli.storing import stored
from tools.pictures.half_year_engine import store_entries

OLD, NEW = "wx-old", "wx-new"
NOW_MS = wall_clock_ms() // DAY_MS * DAY_MS


def ago(days: float) -> int:
    return NOW_MS - round(days * DAY_MS)


FACTS = [
    opened(ago(50), 996, app=OLD),
    registered(ago(50), "government", "政务民生", app=OLD),
    registered(ago(40), "company", app=OLD),
    purchased(ago(40), "used", calls=10, price=299_999, paid_at=ago(41), app=OLD),
    assigned(ago(39), "to-come", days=365, assigned_at=ago(40), paid_at=ago(60), starts_at=ago(-9), app=OLD),
    purchased(ago(40), "spent", calls=1, days=60, price_basis="unknown", price=0, app=OLD),
    purchased(ago(300), "gone", calls=5, days=10, app=OLD),
    *(succeeded(ago(30 - number), app=OLD) for number in range(8)),
    alerting_set(ago(20), app=OLD, levels_percent=[50]),
    routing_set(ago(20), app=OLD, reserve_calls=200, store_budgets=[{"store": "store-03", "calls": 5}]),
]


class Ledger:
    """A ledger in the engine that takes up what is published, as the stream does."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.played = Play(Rules())
        self.published: list[CloudEvent] = []
        self.fails_after = 1_000
        self.played.on(*FACTS)
        stored(url, self.played.entries)

    def publish(self, _settings: object, events: Sequence[CloudEvent]) -> int:
        for event in events:
            if len(self.published) >= self.fails_after:
                raise KeyboardInterrupt
            self.published.append(event)
            store_entries(self.url, self.played.on(to_json(event)))
        return len(events)

    def on(self, *values: bytes) -> None:
        store_entries(self.url, self.played.on(*values))

    def holdings(self, appid: str) -> dict[str, tuple[int, int, int]]:
        """Of each pack, when it starts, what was used of it before, and what it holds."""
        use = self.played.state.accounts[appid].quick
        return {
            pack.pack_id: (pack.starts_at_ms, pack.used_before, pack.remaining)
            for pack in (*use.open, *use.spent)
        }


@pytest.fixture
def ledger(engine: RunningEngine, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    made = Ledger(engine.url(f"migration_{secrets.token_hex(4)}"))
    monkeypatch.setattr(command, "_publish", made.publish)
    monkeypatch.setattr(command, "_wait", lambda _settings: None)
    return made


@pytest.fixture
def migrates(phonemeter: Phonemeter, ledger: Ledger, tmp_path: Path) -> Callable[..., Done]:
    def call(*arguments: object) -> Done:
        return phonemeter("migrate", *arguments, cwd=tmp_path, PHONEMETER_CLICKHOUSE=ledger.url)

    return call


def test_it_is_shown_what_would_move_and_nothing_is_published(
    migrates: Callable[..., Done], ledger: Ledger
) -> None:
    shown = migrates(OLD, NEW, "--json")
    assert (shown.returncode, shown.stderr) == (0, "")
    told = shown.json
    assert [(pack["pack_id"], pack["calls"], pack["used"]) for pack in told["packs"]] == [
        ("spent", 1, 1),
        ("used", 10, 3),
        ("to-come", 10, 0),
    ]
    assert told["trials"] == [{"capability": None, "size": 1_000, "used": 1_000}]
    assert told["owner"] == {"entity_type": "company", "name": "Harbour Café", "category": ""}
    assert told["thresholds"]["levels_percent"] == [50]
    assert told["routing"]["quick"]["reserve_calls"] == 200
    assert (told["migrated_at"], told["published"], ledger.published) == (None, 0, [])
    assert "Nothing was published: add --confirm" in migrates(OLD, NEW).stdout


def test_the_new_app_has_the_same_packs_owner_thresholds_and_routing(
    migrates: Callable[..., Done], ledger: Ledger
) -> None:
    before = ledger.holdings(OLD)
    assert migrates(OLD, NEW, "--confirm").returncode == 0
    assert ledger.holdings(OLD) == {}
    assert ledger.holdings(NEW) == {
        "used": (before["used"][0], 3, 7),
        "to-come": (before["to-come"][0], 0, 10),
        "spent": (before["spent"][0], 1, 0),
    }
    old, new = (ledger.played.state.accounts[appid] for appid in (OLD, NEW))
    assert (new.trial, new.entity_type, new.exempt, new.thresholds) == (0, "company", False, old.thresholds)
    assert (new.quick.routing, new.realtime.routing) == (old.quick.routing, None)
    assert old.quick.routing is not None
    terms = {entry.pack_id: entry.details for entry in ledger.played.of("purchase") if entry.appid == NEW}
    same = {entry.pack_id: entry.details for entry in ledger.played.of("purchase") if entry.appid == OLD}
    assert terms.items() <= same.items()
    ledger.on(succeeded(wall_clock_ms(), app=NEW))
    (charge,) = [entry for entry in ledger.played.of("charge") if entry.appid == NEW]
    assert (charge.pack_id, charge.amount_micro_yuan) == ("used", 299_999 * 4 // 10 - 299_999 * 3 // 10)


def test_interrupted_anywhere_it_is_completed_by_another_call_and_then_changes_nothing(
    migrates: Callable[..., Done], ledger: Ledger
) -> None:
    for number in range(8):
        ledger.fails_after = number
        assert migrates(OLD, NEW, "--confirm").returncode != 0
    ledger.fails_after = 1_000
    assert migrates(OLD, NEW, "--confirm").returncode == 0
    assert len(ledger.published) == 8
    assert len({event["id"] for event in ledger.published}) == 8
    assert sorted(ledger.holdings(NEW)) == ["spent", "to-come", "used"]
    entries = len(ledger.played.entries)
    told = migrates(OLD, NEW, "--confirm", "--json").json
    assert (told["published"], told["missing"], len(ledger.played.entries)) == (0, 0, entries)
    assert "all of it is done" in migrates(OLD, NEW, "--confirm").stdout


def test_what_the_new_app_says_of_itself_stays(migrates: Callable[..., Done], ledger: Ledger) -> None:
    ledger.on(registered(ago(1), "government", app=NEW), purchased(ago(1), "used", paid_at=ago(40), app=NEW))
    assert migrates(OLD, NEW, "--confirm").returncode == 0
    assert ledger.played.state.accounts[NEW].entity_type == "government"
    assert ledger.holdings(NEW)["used"] == (ago(40), 0, 10)
    assert "is in the new app" in migrates(OLD, NEW).stdout


def test_a_call_that_was_counted_in_the_old_app_since_is_said(
    migrates: Callable[..., Done], ledger: Ledger
) -> None:
    migrates(OLD, NEW, "--confirm")
    ledger.on(succeeded(ago(21.5), app=OLD))
    late = [entry for entry in ledger.played.of("uncovered") if entry.appid == OLD]
    assert len(late) == 1
    told = migrates(OLD, NEW, "--json").json
    assert [pack["counted_since"] for pack in told["packs"]] == [0, 0, 0]
    settle(ledger)
    shown = " ".join(migrates(OLD, NEW).stdout.split())
    assert f"Pack used: {OLD} has used 4 calls of it, and its purchase in {NEW} says 3: " in shown
    assert "correct `used_before` there to 4." in shown
    (bought,) = [each for each in ledger.published if each["data"].get("pack_id") == "used"]
    ledger.on(corrected(wall_clock_ms(), bought["id"], app=NEW, set={"used_before": 4}))
    settle(ledger)
    assert [pack["counted_since"] for pack in migrates(OLD, NEW, "--json").json["packs"]] == [0, 0, 0]


def test_a_pack_that_was_corrected_in_the_old_app_since_is_shown_as_it_is_now(
    migrates: Callable[..., Done], ledger: Ledger
) -> None:
    migrates(OLD, NEW, "--confirm")
    ledger.on(corrected(wall_clock_ms(), id_of(FACTS[3]), app=OLD, set={"calls": 4}))
    settle(ledger)
    told = {pack["pack_id"]: pack for pack in migrates(OLD, NEW, "--json").json["packs"]}
    assert (told["used"]["calls"], told["used"]["used"], told["used"]["counted_since"]) == (4, 3, 0)


def settle(ledger: Ledger) -> None:
    """Have everything settled that is not."""
    settled_from = len(ledger.played.entries)
    Settler(ledger.played).settle()
    store_entries(ledger.url, ledger.played.entries[settled_from:])


WRONG: dict[tuple[str, ...], str] = {
    (OLD, OLD): "OLD and NEW are the same appid",
    ("wx 1", NEW): "'wx 1' is no appid",
    (OLD, "wx-third", "--confirm"): f"{OLD} has got another appid already, {NEW}; an app is migrated once.",
    ("wx-third", OLD): f"{OLD} has itself got another appid, {NEW}: name that one.",
    ("wx-none", NEW): "The ledger has no entry about app wx-none",
}


def test_a_wrong_call_is_one_sentence(migrates: Callable[..., Done], ledger: Ledger) -> None:
    migrates(OLD, NEW, "--confirm")
    published = len(ledger.published)
    for arguments, sentence in WRONG.items():
        shown = migrates(*arguments)
        assert (shown.returncode in {1, 2}, shown.stdout) == (True, "")
        assert sentence in " ".join(shown.stderr.split())
    assert len(ledger.published) == published


def test_an_unsettled_app_has_to_be_settled_first(migrates: Callable[..., Done], ledger: Ledger) -> None:
    ledger.on(purchased(ago(1), "late", calls=5, days=45, paid_at=ago(35), app=OLD))
    shown = migrates(OLD, NEW, "--confirm")
    assert f"{OLD} is unsettled" in shown.stderr
    assert ledger.published == []


def test_what_is_confirmed_is_metered(stack: Stack, phonemeter: Phonemeter, tmp_path: Path) -> None:
    old, new = (f"wx{secrets.token_hex(8)}" for _ in range(2))
    environ = stack.settings.to_environ()
    file = tmp_path / "facts.jsonl"
    now_ms = wall_clock_ms()
    pack = purchased(now_ms - DAY_MS, "p", calls=10, days=90, app=old, used_before=4)
    file.write_bytes(b"\n".join([opened(now_ms - DAY_MS, 400, app=old), pack]) + b"\n")
    assert phonemeter("emit", file, cwd=tmp_path, **environ).returncode == 0
    ran = phonemeter("migrate", old, new, "--confirm", "--json", cwd=tmp_path, **environ)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.json["published"] == 3
    settled(stack.settings)
    told = phonemeter("balance", new, "--json", cwd=tmp_path, **environ).json
    assert (told["trial_remaining"], told["capabilities"]["quick"]["packs_remaining"]) == (600, 6)
    gone = phonemeter("balance", old, "--json", cwd=tmp_path, **environ).json
    assert (gone["trial_remaining"], gone["capabilities"]["quick"]["packs_remaining"]) == (0, 0)
    again = phonemeter("migrate", old, new, "--confirm", "--json", cwd=tmp_path, **environ).json
    assert (again["published"], again["migrated_at"]) == (0, ran.json["migrated_at"])
    assert again["migrated_at"] >= format_time(now_ms)
