"""Reading the log with other settings than its workers had: the log's hold, and the difference is told."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaProducer

from metering.partition_state import PartitionState
from metering.rules import Rules, Terms
from metering.topics import STATE
from phonemeter.audit.auditor import audit
from phonemeter.audit.event_history import find_history
from phonemeter.event_log import rules_of_log
from phonemeter.settings import Settings
from streams.state_log import StateLayout
from tests.metering.building import APP, at, succeeded
from tests.phonemeter.audit.parts import World, audit_settings
from tests.phonemeter.cli.calling import called

TOLD = "The log was not metered by the settings here: trial_calls is 2 in the log and 2000 here."

settings = audit_settings


@pytest.fixture
def others(settings: Settings) -> Iterator[Settings]:
    """Other settings than those that four calls were metered by, of which the trial had two."""
    with World(settings) as world:
        world.happens(
            (APP.encode(), succeeded(at(2, hours=hour), event_id=f"tap-{hour}")) for hour in range(4)
        )
        world.all_is_right()
        record(settings, settings.terms(), next_offset=4)
        yield settings.replaced(trial_calls=2_000)


def record(settings: Settings, terms: Terms, next_offset: int, epoch: int = 1) -> None:
    """The records that a worker writes at the end of a checkpoint, behind the items of it."""
    header = StateLayout(epoch, terms=terms).header(PartitionState(0, next_offset))
    producer = KafkaProducer(bootstrap_servers=settings.kafka, acks="all")
    producer.send(STATE, key=header.key, value=header.value, partition=0)
    for number in range(3):
        producer.send(STATE, key=f"ids/{number}#{epoch}.0".encode(), value=b"", partition=0)
    producer.flush()
    producer.close()


def test_the_audit_goes_by_the_logs_rules_and_says_what_is_set_otherwise(others: Settings) -> None:
    report = audit(others)
    assert report.clean
    assert report.settings_note == f"{TOLD} The log's are taken."


def test_the_audit_says_nothing_where_the_settings_are_the_logs(others: Settings) -> None:
    assert audit(others.replaced(trial_calls=2)).settings_note == ""


def test_an_event_is_explained_by_the_logs_rules_as_its_line_beside_it(others: Settings) -> None:
    story = find_history(others, "tap-3", APP)
    assert [one.explanation.decision for one in story.occurrences] == ["uncovered"]
    assert [entry.kind for entry in story.published] == ["uncovered"]
    assert story.settings_note == f"{TOLD} The log's are taken."


def test_a_dry_run_holds_the_settings_against_the_logs_rules(
    others: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ("replay", "--dry-run", "--json")
    done = called(monkeypatch, capsys, tmp_path, others.kafka, *arguments, PHONEMETER_TRIAL_CALLS="2000")
    told = json.loads(done.stdout)
    change = told["apps"][APP]["difference"]
    assert (change["trial"], change["uncovered"]) == (2, -2)
    assert told["settings_note"] == TOLD


def test_what_was_claimed_before_anything_was_metered_binds_nobody(settings: Settings) -> None:
    record(settings, settings.terms(), next_offset=0)
    found = rules_of_log(settings.kafka_access, Rules())
    assert (found.of(0), found.difference) == (Rules(), "")


def test_the_newest_record_is_the_one_that_holds(settings: Settings) -> None:
    record(settings, settings.terms(), next_offset=1)
    newer = Terms(rules=Rules(trial_calls=7), clock="events")
    record(settings, newer, next_offset=2, epoch=2)
    found = rules_of_log(settings.kafka_access, Rules())
    assert (found.log, found.clock) == (newer.rules, "events")
