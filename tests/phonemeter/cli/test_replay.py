"""`phonemeter replay` on the real broker: dry runs, and rebuilds by a real worker."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
from kafka import KafkaProducer, TopicPartition

from kafka_access.access import KafkaAccess
from metering import topics as names
from metering.ledger import CALL_KINDS
from metering.records import Record
from metering.rules import Rules
from phonemeter.kafka_admin import admin
from phonemeter.replay.corrections import CorrectedEvent
from phonemeter.replay.dry_run import dry_run
from phonemeter.topic_reader import open_reader
from sinks.connection import connect, rows
from sinks.migrations import migrate
from tests.conftest import RunningEngine, RunningKafka
from tests.metering.building import at, move, purchased, settled, succeeded
from tests.phonemeter.cli.calling import Done, called
from tests.streams.building import APPS, START_MS, purchase, tap
from tests.streams.worker_process import WorkerProcess, ledger, records_of
from tests.waiting import WITHIN_S, blocking_until

Run = Callable[..., Done]

LOG = [purchase(0, calls=20), *(tap(offset) for offset in range(1, 31)), tap(31, APPS[1])]
"""A pack of 20 calls and 30 taps of one app, one tap of another."""

LINES = 2 + 1 + 31
"""Two trial grants, a purchase, and a line per tap, as long as nothing else happens."""


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Done]:
    """`phonemeter replay ...` on the Kafka that is named first, in this process."""
    return lambda kafka, *arguments, **environ: called(
        monkeypatch, capsys, tmp_path, kafka, "replay", *arguments, **environ
    )


@pytest.fixture
def run(topics: RunningKafka, call: Run) -> Run:
    """The same on the session's broker, whose log is `LOG`."""
    publish(topics.bootstrap, LOG)
    return partial(call, topics.bootstrap)


def publish(kafka: str, records: Sequence[Record]) -> None:
    producer = KafkaProducer(bootstrap_servers=kafka)
    for one in records:
        producer.send(names.EVENTS, key=one.key, value=one.value)
    producer.flush()
    producer.close()


def figures(done: Done, appid: str = APPS[0]) -> dict[str, dict[str, int]]:
    assert done.returncode == 0, done.stderr
    told: dict[str, dict[str, int]] = json.loads(done.stdout)["apps"][appid]
    return {moment: {name: number for name, number in told[moment].items() if number} for moment in told}


def write(tmp_path: Path, *records: Record) -> str:
    (tmp_path / "with.jsonl").write_bytes(b"\n".join(one.value or b"" for one in records))
    return "with.jsonl"


def test_a_dry_run_shows_what_other_rules_would_change_per_app(run: Run) -> None:
    assert figures(run("--dry-run", "--trial-calls", 5, "--json")) == {
        "before": {"trial": 30},
        "after": {"trial": 5, "charged": 20, "uncovered": 5, "amount_micro_yuan": 20_000_001},
        "difference": {"trial": -25, "charged": 20, "uncovered": 5, "amount_micro_yuan": 20_000_001},
    }
    shown = run("--dry-run", "--trial-calls", 5)
    assert shown.returncode == 0, shown.stderr
    assert "30 → 5 (-25)" in shown.stdout
    narrow = run("--dry-run", "--trial-calls", 5, COLUMNS="40", FORCE_COLOR="1").stdout
    for told in (f"app {APPS[0]}", "  trial 30 → 5 (-25)", "  cost ¥ 0.00 → 20.000001 (+20.000001)"):
        assert f"\n{told}\n" in narrow
    assert "0.00 → 20.000001 (+20.000001)" in shown.stdout
    assert "32 records metered; 1 of 2 apps differ. Nothing was written." in shown.stdout
    assert "0 of 2 apps differ" in run("--dry-run", "--allowed-lateness", 60).stdout
    free = figures(run("--dry-run", "--billing-start", "2049-01-01T00:00:00Z", "--json"))["after"]
    assert free == {"free": 30}


def test_a_corrected_purchase_takes_the_place_of_the_logs(run: Run, tmp_path: Path) -> None:
    file = write(tmp_path, purchase(0, calls=10))
    done = run("--dry-run", "--with", file, "--json", PHONEMETER_TRIAL_CALLS="5")
    assert json.loads(done.stdout)["corrections"] == {"replaced": 1, "inserted": 0, "rejected": []}
    assert figures(done)["difference"] == {
        "charged": -10,
        "uncovered": 10,
        "amount_micro_yuan": -10_000_000,
    }


def test_a_purchase_that_was_never_recorded_is_put_in_by_its_time(run: Run, tmp_path: Path) -> None:
    file = write(tmp_path, purchase(4, calls=100))
    done = run("--dry-run", "--with", file, "--json", PHONEMETER_TRIAL_CALLS="5")
    assert json.loads(done.stdout)["corrections"]["inserted"] == 1
    assert figures(done)["difference"] == {"charged": 5, "uncovered": -5, "amount_micro_yuan": 5_000_000}


def test_a_correction_that_the_rules_would_reject_is_told_with_its_line(
    topics: RunningKafka, run: Run
) -> None:
    del run
    from_tomorrow = tap(0, event_id="new", time_ms=2 * START_MS).value or b""
    correction = CorrectedEvent(7, APPS[0], "new", START_MS, from_tomorrow)
    with open_reader(KafkaAccess(topics.bootstrap)) as reader:
        found = dry_run(reader, (Rules(), Rules()), [correction], now_ms=START_MS)
    assert [one.line for one in found.rejected_corrections] == [7]
    assert "is outside" in found.rejected_corrections[0].sentence
    assert found.rejected == (0, 1)


def test_late_facts_are_settled_by_the_other_rules_and_not_by_the_logs_settlements(
    topics: RunningKafka, run: Run
) -> None:
    app = "wx-late"
    facts = (
        purchased(at(1), "P1", calls=1, price=30_000, app=app),
        purchased(at(3), "P2", calls=1, price=40_000, days=365, app=app),
        succeeded(at(3.1), store="b", app=app),
        succeeded(at(1.5), store="a", app=app),
        settled(
            at(4),
            move(at(3.1), "pack:P1", "pack:P2", store="b"),
            move(at(1.5), "uncovered", "pack:P1", store="a"),
            as_of=0,
            from_ms=at(1),
            app=app,
        ),
    )
    publish(topics.bootstrap, [Record(0, None, app.encode(), value) for value in facts])
    told = figures(run("--dry-run", "--trial-calls", 1, "--json", PHONEMETER_TRIAL_CALLS="0"), app)
    assert told["before"] == {"charged": 2, "amount_micro_yuan": 70_000}
    assert told["after"] == {"trial": 1, "charged": 1, "amount_micro_yuan": 30_000}


def test_a_log_without_its_head_is_refused(topics: RunningKafka, run: Run) -> None:
    partition = next(at for at, offset, _ in records_of(topics.bootstrap, names.EVENTS) if offset == 20)
    with admin(KafkaAccess(topics.bootstrap)) as client:
        client.delete_records({TopicPartition(names.EVENTS, partition): 10})
    for wish in ("--dry-run", "--confirm"):
        refused = run(wish)
        assert refused.returncode == 1
        assert "begins at offset 10: what came before was deleted" in refused.stderr


@pytest.fixture
def worker(
    topics: RunningKafka, run: Run, tmp_path: Path, free_port: Callable[[], int]
) -> Iterator[WorkerProcess]:
    """A worker that has metered the log."""
    del run
    with WorkerProcess(topics.bootstrap, free_port(), tmp_path) as worker:
        blocking_until(lambda: len(ledger(topics.bootstrap)) == LINES)
        yield worker


def published(kafka: str) -> int:
    return sum(len(json.loads(value or b"")["rows"]) for _, _, value in records_of(kafka, names.LEDGER))


def damage_state(kafka: str) -> None:
    """Take the accounts out of the state, which a worker would refuse to go on with."""
    producer = KafkaProducer(bootstrap_servers=kafka)
    with open_reader(KafkaAccess(kafka)) as reader:
        for partition, span in reader.spans(names.STATE).items():
            for batch in reader.batches(names.STATE, partition, span):
                for one in batch:
                    if (one.key or b"").startswith(b"accounts/"):
                        producer.send(names.STATE, key=one.key, value=None, partition=partition)
    producer.flush()
    producer.close()


def test_a_state_that_was_damaged_is_rebuilt_with_the_same_lines_and_goes_on(
    topics: RunningKafka, run: Run, worker: WorkerProcess
) -> None:
    refused = run("--confirm")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "A worker is running (consumer group phonemeter-worker has 1 member); stop" in refused.stderr

    assert worker.terminate() == 0
    before = ledger(topics.bootstrap)
    damage_state(topics.bootstrap)
    publish(topics.bootstrap, [tap(40)])
    worker.restart()
    assert worker.process.wait(timeout=WITHIN_S) != 0
    assert "is damaged" in worker.log
    done = run("--confirm")
    assert done.returncode == 0, done.stderr
    assert f"The current settings give the {LINES} entries of the ledger." in done.stdout

    worker.restart()
    blocking_until(lambda: published(topics.bootstrap) == 2 * LINES + 1)
    publish(topics.bootstrap, [tap(30)])
    blocking_until(lambda: len(ledger(topics.bootstrap)) == LINES + 2)
    # That lines published twice are equal is checked as they are read.
    after = ledger(topics.bootstrap)
    assert {place: after[place] for place in before} == before
    added = [entry for place, entry in sorted(after.items()) if place not in before]
    assert [(entry.kind, entry.remaining) for entry in added] == [("trial_charge", 969), ("duplicate", 0)]


def test_another_rule_needs_a_new_ledger_and_the_old_one_is_kept(
    topics: RunningKafka,
    run: Run,
    worker: WorkerProcess,
    engine: RunningEngine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert worker.terminate() == 0
    monkeypatch.setenv("PHONEMETER_TRIAL_CALLS", "5")
    worker.restart()
    assert worker.process.wait(timeout=WITHIN_S) != 0
    told = worker.log.partition("the worker stops: ")[2].partition("\n")[0]
    assert "trial_calls is 1000 in the log and 5 here" in told
    assert "`phonemeter replay --confirm --new-ledger`" in told
    refused = run("--confirm")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "calls 1000 where these rules give 5" in refused.stderr
    assert "--new-ledger" in refused.stderr

    url = engine.url("replayed")
    migrate(url)
    with connect(url) as client:
        client.execute("INSERT INTO ledger (source_partition, appid) VALUES", [(0, "wx1")])
        done = run("--confirm", "--new-ledger", "--json", PHONEMETER_CLICKHOUSE=url)
        assert done.returncode == 0, done.stderr
        aside = json.loads(done.stdout)["ledger_kept_as"]
        assert rows(
            client, "SELECT total_rows FROM system.tables WHERE name = %(name)s", {"name": aside}
        ) == [(1,)]
        assert rows(client, "SELECT count() FROM ledger") == [(0,)]
    assert ledger(topics.bootstrap) == {}

    worker.restart()
    blocking_until(lambda: taken(topics.bootstrap).total() == 31)
    assert taken(topics.bootstrap) == {"trial_charge": 6, "charge": 20, "uncovered": 5}


def taken(kafka: str) -> Counter[str]:
    """The kinds of the ledger's calls."""
    return Counter(entry.kind for entry in ledger(kafka).values() if entry.kind in CALL_KINDS)


def test_wrong_use_is_one_sentence(call: Run, tmp_path: Path, free_port: Callable[[], int]) -> None:
    (tmp_path / "bad.jsonl").write_text("{}\n")
    away = f"127.0.0.1:{free_port()}"
    for arguments, status, told in [
        ((), 2, "Say what to do: --dry-run"),
        (("--dry-run", "--confirm"), 2, "Say what to do, --dry-run or --confirm, and not both."),
        (("--new-ledger",), 2, "--new-ledger goes with --confirm"),
        (("--confirm", "--trial-calls", "5"), 2, "Other rules and corrected events are for --dry-run"),
        (("--dry-run", "--new-ledger"), 2, "--new-ledger goes with --confirm"),
        (("--dry-run", "--with", "missing"), 2, "missing can't be read"),
        (("--dry-run", "--with", "bad.jsonl"), 2, "Line 1 is no event"),
        (("--dry-run", "--billing-start", "soon"), 2, "--billing-start: 'soon' is not a time"),
        (("--dry-run", "--billing-start", "1999-01-01T00:00:00Z"), 2, "is not within"),
        (("--dry-run",), 1, f"Kafka at {away} does not answer"),
        (("--confirm",), 1, f"Kafka at {away} does not answer"),
    ]:
        refused = call(away, *arguments)
        assert (refused.returncode, refused.stderr.count("\n")) == (status, 1), refused.stderr
        assert told in refused.stderr
