"""An audit over a log that is not the one that was metered: it says so, before it names single lines."""

import asyncio
from pathlib import Path

import pytest
from kafka import KafkaProducer
from msgspec.structs import replace

from metering.log_identity import Mark, fingerprint
from metering.partition_state import PartitionState
from metering.topics import STATE
from phonemeter.audit.auditor import audit
from phonemeter.audit.sentences import verdict
from phonemeter.settings import Settings
from streams.log_view import LogViewer
from streams.state_log import StateLayout
from tests.metering.building import APP, at, succeeded
from tests.phonemeter.audit.parts import World, audit_settings
from tests.phonemeter.cli.calling import called
from tests.waiting import WITHIN_S

settings = audit_settings

NOT_THE_LOG = "phone-events partition 0 is not the log that was read before: "
RECREATED = "the topic was recreated (its id was "
REPLACED = "at offset 3 it has another record than was read there"


def mark_of(settings: Settings, world: World) -> Mark:
    """The mark that a worker keeps of this log."""
    view = asyncio.run(LogViewer(settings.kafka_access).look({0: 3}))[0]
    last = world.records[3]
    assert view.found is not None
    known_by = fingerprint(last.key, last.value, last.recorded_at_ms)
    return Mark(view.topic_id, 3, known_by, view.found.leader_epoch)


def record(settings: Settings, mark: Mark) -> None:
    """Write the record with which a worker ends a checkpoint."""
    header = StateLayout(1, terms=settings.terms(), mark=mark).header(PartitionState(0, 4))
    producer = KafkaProducer(bootstrap_servers=settings.kafka, acks="all")
    producer.send(STATE, key=header.key, value=header.value, partition=0).get(WITHIN_S)
    producer.close()


def test_an_audit_tells_whether_the_log_is_the_one_that_was_metered(settings: Settings) -> None:
    with World(settings) as world:
        world.happens(
            (APP.encode(), succeeded(at(2, hours=hour), event_id=f"tap-{hour}")) for hour in range(4)
        )
        world.all_is_right()
        mark = mark_of(settings, world)
        record(settings, mark)
        same = audit(settings)
        assert (same.clean, same.another_log) == (True, "")
        record(settings, replace(mark, topic_id="AAAAAAAAAAAAAAAAAAAAAA"))
        anew = audit(settings)
        record(settings, replace(mark, fingerprint=1))
        replaced = audit(settings)
    for report, why in ((anew, RECREATED), (replaced, REPLACED)):
        assert not report.clean
        assert verdict(report) == "The log is not the one that was metered."
        assert report.another_log.startswith(f"{NOT_THE_LOG}{why}")
        assert report.another_log.endswith(
            "`phonemeter replay --confirm --new-ledger` meter what it holds now, from its beginning."
        )


def test_the_command_says_so_and_what_to_do(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with World(settings) as world:
        world.happens([(APP.encode(), succeeded(at(2), event_id=f"tap-{number}")) for number in range(4)])
        world.all_is_right()
        record(settings, replace(mark_of(settings, world), fingerprint=1))
    done = called(
        monkeypatch,
        capsys,
        tmp_path,
        settings.kafka,
        "audit",
        PHONEMETER_CLICKHOUSE=settings.clickhouse,
        PHONEMETER_TRIAL_CALLS="2",
    )
    assert done.returncode == 1
    assert "The log is not the one that was metered." in done.stdout
    assert NOT_THE_LOG in " ".join(done.stdout.split())
