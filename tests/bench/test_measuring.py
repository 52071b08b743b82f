"""The cost of a run, from the samples."""

import os
from pathlib import Path

import pytest

from bench.marked import note_first_events
from bench.measuring import Sample, run_of
from bench.peers import as_peer
from bench.processes import Program, ResourceUsage
from bench.traffic import events
from streams.record_batches import Consumer


def seen(mark: Path) -> tuple[list[Program], list[Sample]]:
    """A worker (this process) and a broker, looked at once a second; the first events came at 100.4."""
    mark.write_text("100.4 1.5")
    programs = [
        Program("worker", os.getpid(), mark, mark=mark),
        Program("kafka", os.getpid(), mark),
    ]
    progress = [0, 0, 40, 90, 90, 90]
    return programs, [
        Sample(99.0 + at, done, {"worker": 1.0 + at, "kafka": 0.5 * at}, 10.0 + 2 * at, 0.1 * at)
        for at, done in enumerate(progress)
    ]


def test_a_run_ends_with_the_last_output_and_its_cpu_some_time_later(tmp_path: Path) -> None:
    programs, samples = seen(tmp_path / "mark")
    run = run_of(programs, samples, 1_000_000)
    assert run.wall_s == pytest.approx(102.0 - 100.4)
    # The worker says itself what it had used at its first events; of others the nearest look counts.
    assert run.cpu_s["worker"] == pytest.approx(6.0 - 1.5)
    assert run.cpu_s["kafka"] == pytest.approx(2.5 - 0.5)
    assert run.cpu_s_per_million("worker", "kafka") == pytest.approx(6.5)
    # From 100 to 102 the machine was busy for 4 s, of which these used 3 s and looking 0.2 s.
    assert run.others_cpu_s == pytest.approx(0.8)


def test_a_run_is_told_in_the_form_of_the_peers(tmp_path: Path) -> None:
    programs, samples = seen(tmp_path / "mark")
    line = as_peer(run_of(programs, samples, 1_600_000), correct=True)
    form = ("peer", "mode", "events", "events_per_s", "cpu_s_per_million", "peak_rss_mb", "correct")
    assert tuple(line)[:7] == form
    assert (line["peer"], line["events_per_s"], line["cpu_s_per_million"]) == ("phonemeter", 1_000_000, 2.8)


def test_what_a_process_uses_is_read_from_the_system() -> None:
    before = ResourceUsage.of(os.getpid())
    list(events(2_000, 10))
    after = ResourceUsage.of(os.getpid())
    assert after.cpu_s >= before.cpu_s > 0
    assert after.peak_rss_mb > 10


def test_a_program_that_has_ended_is_told_with_its_last_words(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("out of memory")
    gone = Program("worker", 2**30, log)
    with pytest.raises(RuntimeError, match=r"worker has ended(.|\n)*out of memory"):
        gone.usage()


async def test_the_first_delivery_that_is_not_empty_is_noted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliveries: list[dict[str, list[str]]] = [{}, {"partition": ["batch"]}, {"partition": ["another"]}]

    async def deliver(*_arguments: object) -> dict[str, list[str]]:
        return deliveries.pop(0)

    monkeypatch.setattr(Consumer, "_getmany", deliver)
    mark = tmp_path / "mark"
    note_first_events(mark)
    consumer = object.__new__(Consumer)
    assert not await consumer._getmany(None, 1.0)
    assert not mark.exists()
    assert await consumer._getmany(None, 1.0)
    at_s, cpu_s = map(float, mark.read_text().split())
    assert at_s > 1_700_000_000
    assert cpu_s > 0
    assert vars(Consumer)["_getmany"] is deliver
