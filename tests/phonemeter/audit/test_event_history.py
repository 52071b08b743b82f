"""The history of a call that settlements may have moved: shown to people and in JSON."""

import json
from pathlib import Path

import pytest

from phonemeter.settings import Settings
from tests.metering.building import APP, at, move, purchased, settled, succeeded
from tests.phonemeter.audit.parts import World, audit_settings
from tests.phonemeter.cli.calling import called

settings = audit_settings


def test_a_call_shows_the_settlements_that_may_have_moved_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    taps = [succeeded(at(1, hours=hour), event_id=f"tap-{hour}", store="a") for hour in range(4)]
    late = purchased(at(2), "p", calls=9, paid_at=at(0))
    moves = move(at(1), "trial", "pack:p", 2, store="a")
    with World(settings) as world:
        world.happens((APP.encode(), value) for value in (*taps, late, settled(at(3), moves, as_of=4)))
        world.all_is_right()
        environ = {
            "PHONEMETER_CLICKHOUSE": settings.clickhouse,
            "PHONEMETER_TRIAL_CALLS": str(settings.trial_calls),
        }

        def explained(tap: str, *options: str) -> str:
            arguments = ("explain", tap, "--app", APP, *options)
            done = called(monkeypatch, capsys, tmp_path, settings.kafka, *arguments, **environ)
            assert done.returncode == 0, done.stderr
            return done.stdout

        told = json.loads(explained("tap-1", "--json"))
        (settlement,) = told["settlements"]
        assert {name: settlement[name] for name in ("offset", "calls", "of_calls", "from", "to")} == {
            "offset": 5,
            "calls": 2,
            "of_calls": 2,
            "from": "trial",
            "to": "pack:p",
        }
        assert settlement["event_id"] in explained("tap-1")
        assert "moved all 2 calls" in " ".join(explained("tap-1").split())
        assert json.loads(explained("tap-3", "--json"))["settlements"] == []
