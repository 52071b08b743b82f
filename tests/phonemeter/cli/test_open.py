"""`phonemeter open`: what it would change, by the real engine, and what it publishes (rule 16)."""

import secrets
from pathlib import Path

import pytest

from metering.event_validation import read_event
from metering.events import Opened, UsageObserved
from metering.rules import Rules
from phonemeter.cli import open as command
from phonemeter.stack.stack import Stack
from producers.events import CloudEvent, to_json
from tests.conftest import RunningEngine
from tests.metering.building import APP, DAY_MS, Play, at, opened, purchased, refunded, succeeded
from tests.phonemeter.audit.parts import settled
from tests.phonemeter.cli.calling import Done, Phonemeter
from tests.phonemeter.cli.storing import stored

VALID_DAYS = 3_600


@pytest.fixture(scope="module")
def played() -> Play:
    """An app without calls of `quick`, with calls of `realtime`, and packs of both."""
    played = Play(Rules())
    played.on(
        opened(at(0), 100),
        purchased(at(0), "whole", calls=10_000, days=VALID_DAYS),
        purchased(at(0), "opened", calls=250, days=VALID_DAYS, used_before=50),
        purchased(at(0), "gone", calls=250, days=VALID_DAYS),
        refunded(at(0), "gone"),
        purchased(at(0), "other", calls=250, days=VALID_DAYS, capability="realtime"),
        succeeded(at(1), capability="realtime"),
    )
    return played


@pytest.fixture(scope="module")
def url(engine: RunningEngine, played: Play) -> str:
    return stored(engine.url("openings"), played.entries)


@pytest.fixture
def opens(phonemeter: Phonemeter, url: str, tmp_path: Path) -> Phonemeter:
    def call(*arguments: object) -> Done:
        return phonemeter("open", *arguments, cwd=tmp_path, PHONEMETER_CLICKHOUSE=url)

    return call


def test_it_is_shown_what_would_change_and_nothing_is_published(opens: Phonemeter) -> None:
    shown = opens(APP, "--trial-used", 900, "--pack", "whole=6200", "--pack", "opened=60", "--json")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.json["published"] is False
    assert [tuple(quota.values()) for quota in shown.json["quotas"]] == [
        ("", 900, 1_000, 100, 899, 99, "opens"),
        ("whole", 6_200, 10_000, 0, 10_000, 3_800, "opens"),
        ("opened", 60, 250, 50, 200, 190, "opens"),
    ]
    told = opens(APP, "--pack", "whole=6200").stdout
    assert "3,800" in told
    assert "Nothing was published: add --confirm" in told


@pytest.mark.parametrize(
    ("arguments", "verdict"),
    [
        (("--trial-used", 1_000), "does_not_fit"),
        (("--trial-used", 999), "opens"),
        (("--pack", "whole=10001"), "does_not_fit"),
        (("--pack", "gone=1"), "ended"),
        (("--pack", "other=1"), "other_capability"),
        (("--pack", "other=1", "--capability", "realtime"), "counts_already"),
        (("--pack", "new=1", "--capability", "realtime"), "counts_already"),
        (("--pack", "new=1"), "waits"),
    ],
)
def test_what_cannot_be_opened_is_said_with_its_reason(
    opens: Phonemeter, arguments: tuple[object, ...], verdict: str
) -> None:
    shown = opens(APP, *arguments, "--json")
    (quota,) = shown.json["quotas"]
    assert quota["verdict"] == verdict
    assert shown.returncode == (0 if verdict in {"opens", "waits"} else 1)


def test_nothing_is_said_to_be_published_where_nothing_can_be_opened(opens: Phonemeter) -> None:
    shown = opens(APP, "--pack", "gone=1", "--confirm")
    assert shown.returncode == 1
    assert "Nothing was published: nothing can be opened." in shown.stdout + shown.stderr
    assert opens(APP, "--pack", "gone=1", "--confirm", "--json").json["published"] is False


def test_the_verdicts_are_those_of_metering(
    opens: Phonemeter, played: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    published: list[CloudEvent] = []
    monkeypatch.setattr(command, "_publish", lambda _settings, events: published.extend(events))
    shown = opens(
        APP, "--trial-used", 900, "--pack", "whole=6200", "--pack", "gone=1", "--pack", "new=7", "--confirm"
    )
    assert shown.returncode == 1
    assert "3 published" in shown.stdout
    read = [read_event(to_json(event), now_ms=None) for event in published]
    assert [type(event) for event in read] == [Opened, UsageObserved, UsageObserved]
    after = played.with_(*map(to_json, published))
    later = at(0) + VALID_DAYS * DAY_MS // 2
    after.on(purchased(later, "new", calls=10, days=VALID_DAYS))
    account = after.state.accounts[APP]
    assert account.trial == 99
    assert {pack.pack_id: pack.remaining for pack in account.quick.open} == {
        "whole": 3_800,
        "opened": 200,
        "new": 3,
    }


def test_an_app_that_the_ledger_does_not_know_starts_with_its_whole_trial_quota(opens: Phonemeter) -> None:
    shown = opens("wx-new", "--trial-used", 400, "--pack", "p=1", "--json")
    assert [(quota["left_after"], quota["verdict"]) for quota in shown.json["quotas"]] == [
        (600, "opens"),
        (None, "waits"),
    ]


def test_what_is_confirmed_is_metered(stack: Stack, phonemeter: Phonemeter, tmp_path: Path) -> None:
    app, environ = f"wx{secrets.token_hex(8)}", stack.settings.to_environ()
    ran = phonemeter("open", app, "--trial-used", 400, "--confirm", cwd=tmp_path, **environ)
    assert (ran.returncode, ran.stderr) == (0, "")
    settled(stack.settings)
    told = phonemeter("balance", app, "--json", cwd=tmp_path, **environ).json
    assert (told["trial_size"], told["trial_remaining"]) == (1_000, 600)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((APP,), "Say what was used: --trial-used N, --pack ID=USED, or both."),
        ((APP, "--pack", "p"), "--pack 'p' is not understood: give ID=USED, such as 10001-0001=6200."),
        ((APP, "--pack", "p=-1"), "--pack 'p=-1' is not understood"),
        ((APP, "--pack", "p=1", "--pack", "p=2"), "--pack names 'p' twice; give each pack once."),
        ((APP, "--trial-used", "1", "--capability", "slow"), "--capability 'slow' is none; it is quick or"),
        (("wx 1", "--trial-used", "1"), "'wx 1' is no appid"),
    ],
)
def test_a_wrong_call_is_one_sentence(opens: Phonemeter, arguments: tuple[str, ...], sentence: str) -> None:
    shown = opens(*arguments)
    assert (shown.returncode, shown.stdout) == (2, "")
    assert sentence in " ".join(shown.stderr.split())
