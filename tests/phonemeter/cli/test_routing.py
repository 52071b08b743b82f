"""`phonemeter routing` shows the policy in force, and publishes what is set (rule 20)."""

import secrets
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from metering.times import format_time, from_ms
from phonemeter.cli import routing as command
from phonemeter.stack.stack import Stack
from producers.client import EventProducer
from producers.clock import wall_clock_ms
from producers.events import CloudEvent, account_registered, to_json
from tests.conftest import RunningEngine
from tests.metering.building import Play, at, play, purchased, routing_set
from tests.phonemeter.cli.calling import Done, Phonemeter
from tests.phonemeter.cli.storing import stored
from tests.waiting import blocking_until
from tools.pictures.half_year_engine import store_entries

APP = "wx-routed"
DEFAULT = {
    "mode": "balance",
    "reserve_calls": 0,
    "lead_minutes": 0,
    "sms_left": None,
    "ask_known_members": False,
    "store_budgets": [],
    "when_stale": "estimate",
    "refusal_pause_s": 300,
}


class Ledger:
    """A ledger in the engine that takes up what is published, as the stream does."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.played: Play = play(
            purchased(at(0), "P1", app=APP), routing_set(at(1), app=APP, capability="realtime", mode="manual")
        )
        stored(url, self.played.entries)

    def publish(self, _settings: object, events: Sequence[CloudEvent]) -> None:
        for event in events:
            store_entries(self.url, self.played.on(to_json(event)))


@pytest.fixture
def routes(
    engine: RunningEngine, phonemeter: Phonemeter, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Done]:
    ledger = Ledger(engine.url(f"routing_{secrets.token_hex(4)}"))
    monkeypatch.setattr(command, "_publish", ledger.publish)

    def call(*arguments: object) -> Done:
        return phonemeter("routing", *arguments, cwd=tmp_path, PHONEMETER_CLICKHOUSE=ledger.url)

    return call


def test_the_policy_in_force_is_shown_and_nothing_is_published(routes: Callable[..., Done]) -> None:
    told = routes(APP, "--json").json
    assert told == {
        "appid": APP,
        "published": 0,
        "policies": [
            {"capability": "quick", **DEFAULT, "set_at": None},
            {"capability": "realtime", **DEFAULT, "mode": "manual", "set_at": format_time(at(1))},
        ],
    }
    shown = routes(APP)
    assert (shown.returncode, shown.stderr) == (0, "")
    lines = [" ".join(line.split()) for line in shown.stdout.splitlines()]
    assert "decides (mode) balance manual" in lines
    assert "short messages left not counted not counted" in lines


def test_what_is_set_is_in_force_and_the_rest_stays(routes: Callable[..., Done]) -> None:
    set_now = routes(
        APP, "--reserve-calls", 200, "--sms-left", 0, "--store-budget", "100", "--store-budget", "a=b=5",
        "--ask-known", "--json",
    )  # fmt: skip
    assert (set_now.returncode, set_now.json["published"]) == (0, 2)
    again = routes(APP, "--json").json
    budgets = [{"store": "", "calls": 100}, {"store": "a=b", "calls": 5}]
    chosen = DEFAULT | {
        "reserve_calls": 200, "sms_left": 0, "store_budgets": budgets, "ask_known_members": True
    }  # fmt: skip
    quick, realtime = ({**one, "set_at": ""} for one in again["policies"])
    assert quick == {"capability": "quick", **chosen, "set_at": ""}
    assert realtime == {"capability": "realtime", **chosen, "mode": "manual", "set_at": ""}

    one = routes(APP, "--capability", "realtime", "--no-budgets", "--mode", "balance")
    assert "Published: it holds within seconds." in one.stderr
    quick, realtime = routes(APP, "--json").json["policies"]
    assert (quick["store_budgets"], quick["mode"]) == (budgets, "balance")
    assert (realtime["store_budgets"], realtime["mode"]) == ([], "balance")
    assert "each other store 100, a=b 5" in " ".join(routes(APP).stdout.split())


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (("wx7", "--mode", "sms"), 1, "The ledger has no entry about app wx7"),
        ((APP, "--store-budget", "store-03"), 2, "--store-budget 'store-03' is none: write STORE=N"),
        ((APP, "--store-budget", "a=1", "--store-budget", "a=2"), 2, "--store-budget has a twice"),
        ((APP, "--store-budget", "1", "--no-budgets"), 2, "Give --store-budget or --no-budgets, not both"),
        ((APP, "--store-budget", "13800138000=1"), 2, "The policy is refused. data.store"),
        ((APP, "--reserve-calls", "1000000001"), 2, "The policy is refused. data.reserve_calls"),
    ],
    ids=["unknown app", "no number", "twice", "both", "phone number", "too large"],
)
def test_a_policy_that_cannot_be_set_is_refused_in_a_sentence(
    routes: Callable[..., Done], arguments: tuple[str, ...], status: int, sentence: str
) -> None:
    shown = routes(*arguments)
    assert (shown.returncode, shown.stdout) == (status, "")
    assert sentence in shown.stderr


def test_a_policy_that_is_set_comes_back_from_the_stream(
    stack: Stack, phonemeter: Phonemeter, tmp_path: Path
) -> None:
    appid = f"wx{secrets.token_hex(8)}"
    with EventProducer(stack.settings) as producer:
        producer.publish(
            account_registered(appid=appid, entity_type="company", time=from_ms(wall_clock_ms()))
        )

    def told(*options: str) -> Done:
        return phonemeter("routing", appid, *options, "--json", cwd=tmp_path, **stack.settings.to_environ())

    blocking_until(lambda: told().returncode == 0)
    assert told("--reserve-calls", "200", "--when-stale", "sms").json["published"] == 2
    blocking_until(lambda: all(one["set_at"] for one in told().json["policies"]))
    assert [(one["reserve_calls"], one["when_stale"]) for one in told().json["policies"]] == [
        (200, "sms")
    ] * 2
