"""`phonemeter reconcile`: what people and programs are told of the platform's count beside ours (rule 17)."""

from itertools import count
from pathlib import Path
from typing import Any

import pytest

from metering.ledger import Entry
from metering.times import HOUR_MS
from tests.conftest import RunningEngine
from tests.phonemeter.cli.calling import Done, Phonemeter
from tests.phonemeter.cli.storing import stored
from tests.sinks.parts import START_MS, purchase

_offsets = count(10)


def observed(hours: int, used: int) -> Entry:
    at_ms = START_MS + hours * HOUR_MS
    details = f'{{"size":250,"used":{used}}}'
    return Entry(
        next(_offsets), 0, "usage_observed", at_ms, at_ms, "wx1", "quick", pack_id="p1", details=details
    )


def failed(hours: int) -> Entry:
    at_ms = START_MS + hours * HOUR_MS
    return Entry(next(_offsets), 0, "failed", at_ms, at_ms, "wx1", "quick", "exchange-1", errno=40_029)


ENTRIES = [
    purchase("wx1", "p1", 1),
    purchase("wx2", "p9", 2),
    observed(1, 0),
    failed(2),
    observed(3, 3),
    observed(30, 3),
]


@pytest.fixture(scope="module")
def url(engine: RunningEngine) -> str:
    """A database whose ledger holds `ENTRIES`."""
    return stored(engine.url("reconcile"), ENTRIES)


def test_people_are_told_the_difference_since_when_and_why(
    phonemeter: Phonemeter, url: str, tmp_path: Path
) -> None:
    shown = phonemeter("reconcile", "wx1", cwd=tmp_path, PHONEMETER_CLICKHOUSE=url, COLUMNS="300")
    assert shown.stderr == ""
    lines = [" ".join(line.split()) for line in shown.stdout.splitlines()]
    assert lines[1] == "quick p1 3 0 +3 2024-06-01 11:00 2024-06-02 14:00 stays"
    assert "In this time the platform's count grew by 3 calls more than ours." in lines
    assert any(line.startswith("2 calls more at the platform: no event reached us") for line in lines)
    assert any("(exchange_failed), 2024-06-01 09:00 to 2024-06-01 11:00" in line for line in lines)
    assert "events: exchange-1" in lines


def test_programs_are_told_the_same_of_one_day(phonemeter: Phonemeter, url: str, tmp_path: Path) -> None:
    def told(day: str) -> dict[str, object]:
        return phonemeter(
            "reconcile", "wx1", "--day", day, "--json", cwd=tmp_path, PHONEMETER_CLICKHOUSE=url
        ).json

    first = told("2024-06-01")
    assert first["from_at"] == "2024-05-31T15:59:59.999Z"
    assert first["change"] == 3
    assert [(cause["causes"], cause["effect"]) for cause in first["causes"]] == [  # type: ignore[attr-defined]
        (["lost_callback"], 2),
        (["exchange_failed"], 1),
    ]
    second = told("2024-06-02")
    assert (second["change"], second["causes"]) == (0, [])
    assert [quota["difference"] for quota in second["quotas"]] == [3]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (("wx9",), 1, "The ledger has no entry about app wx9"),
        (("wx2",), 1, "The platform's count of app wx2 was not observed in that time"),
        (("wx1", "--day", "2024-02-30"), 2, "--day '2024-02-30' is not a day"),
        (("wx1", "--day", "2024-06-03"), 1, "The platform's count of app wx1 was not observed in that time"),
        (("wx1", "--day", "2024-07-01"), 1, "The platform's count of app wx1 was not observed in that time"),
    ],
)
def test_what_can_not_be_compared_is_told_in_a_sentence(
    phonemeter: Phonemeter, url: str, tmp_path: Path, arguments: tuple[str, ...], status: int, sentence: str
) -> None:
    shown = phonemeter("reconcile", *arguments, cwd=tmp_path, PHONEMETER_CLICKHOUSE=url)
    assert (shown.returncode, shown.stdout, shown.stderr.count("\n")) == (status, "", 1)
    assert shown.stderr.startswith(sentence)


def booked(hours: int, calls: int) -> list[Entry]:
    """The pair that follows the platform."""
    at_ms, offset = START_MS + hours * HOUR_MS, next(_offsets)
    of: dict[str, Any] = {
        "reason": "settled", "details": '{"from":"followed","to":"pack:p1"}', "capability": "quick"
    }  # fmt: skip
    return [
        Entry(offset, 0, "charge", at_ms, at_ms, "wx1", calls=calls, pack_id="p1", **of),
        Entry(offset, 1, "followed", at_ms, at_ms, "wx1", calls=-calls, **of),
    ]


def test_what_was_booked_agrees_and_the_causes_are_still_those_of_events(
    phonemeter: Phonemeter, engine: RunningEngine, tmp_path: Path
) -> None:
    policy = Entry(
        next(_offsets), 0, "agreement_set", START_MS, START_MS, "wx1", details='{"policy":"follow"}'
    )
    url = stored(engine.url("reconcile_followed"), [*ENTRIES, policy, *booked(3, 2), *booked(3, 1)])

    def run(*more: str) -> Done:
        return phonemeter("reconcile", "wx1", *more, cwd=tmp_path, PHONEMETER_CLICKHOUSE=url, COLUMNS="300")

    lines = [" ".join(line.split()) for line in run().stdout.splitlines()]
    assert lines[1] == "quick p1 3 3 0 2024-06-01 09:00 2024-06-02 14:00"
    assert "In this time the platform's count grew by 3 calls more than ours." in lines
    assert any(line.startswith("2 calls more at the platform: no event reached us") for line in lines)
    assert "3 calls booked to follow the platform, at no store; no event is behind them." in lines
    assert "A difference that stays is booked (policy follow)." in lines
    told: Any = run("--json").json
    assert (told["policy"], told["followed"], told["change"]) == ("follow", 3, 3)
    assert [(one["charged"], one["followed"], one["difference"]) for one in told["quotas"]] == [(3, 3, 0)]


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (("wx1", "--policy", "ignore"), 2, "--policy 'ignore' is none; it is report or follow."),
        (("wx1", "--policy", "follow", "--day", "2024-06-01"), 2, "Give --policy or --day, not both"),
        (("wx7", "--policy", "follow"), 1, "The ledger has no entry about app wx7"),
    ],
)
def test_a_policy_that_cannot_be_set_is_refused_in_a_sentence(
    phonemeter: Phonemeter, url: str, tmp_path: Path, arguments: tuple[str, ...], status: int, sentence: str
) -> None:
    shown = phonemeter("reconcile", *arguments, cwd=tmp_path, PHONEMETER_CLICKHOUSE=url)
    assert (shown.returncode, shown.stdout) == (status, "")
    assert sentence in shown.stderr
