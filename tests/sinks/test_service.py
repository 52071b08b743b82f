"""The sink with a real broker and engine: whichever dies, each entry is stored exactly once."""

import socket
import sys
import threading
from collections.abc import Callable, Iterator
from math import ceil
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, TopicPartition

from metering.ledger import Entry, encode_records
from metering.topics import LEDGER, SINK_GROUP
from sinks import service
from sinks.errors import SinkError
from sinks.settings import SinkSettings
from tests.conftest import RunningKafka
from tests.damage import damage
from tests.served import scraped
from tests.sinks.parts import (
    HOST,
    EngineProcess,
    Publisher,
    SinkProcess,
    count_of,
    expected,
    lines,
    stored,
    wait_until,
)
from tests.torture.proxy import Proxy
from tests.transactions import transaction
from tests.waiting import WITHIN_S

LOSSES = (
    "TRUNCATE TABLE phonemeter.ledger",
    "DROP TABLE phonemeter.ledger SYNC",
    "DROP DATABASE phonemeter SYNC",
)
MakeSink = Callable[..., SinkProcess]


@pytest.fixture
def make_sink(
    topics: RunningKafka, own_engine: EngineProcess, free_port: Callable[[], int], tmp_path: Path
) -> Iterator[MakeSink]:
    """A function that starts a sink as a process on the test's broker and engine."""
    started: list[SinkProcess] = []

    def make(**changes: str | int) -> SinkProcess:
        port = free_port()
        options: dict[str, Any] = {"clickhouse": own_engine.url, **changes}
        sink = SinkProcess(topics.bootstrap, metrics_port=port, log=tmp_path / f"sink-{port}.log", **options)
        started.append(sink.start())
        return sink

    yield make
    for sink in started:
        sink.end()
        # Shown where the test failed.
        sys.stdout.write(sink.log.read_text())


@pytest.fixture
def publisher(topics: RunningKafka) -> Iterator[Publisher]:
    with Publisher(topics.bootstrap) as publisher:
        yield publisher


def metric(sink: SinkProcess, name: str, labels: str = "") -> float:
    """The value of one of the sink's metrics; 0 while its port does not answer."""
    return scraped(sink.metrics_port).get(name + labels, 0.0)


def ready(sink: SinkProcess) -> bool:
    try:
        socket.create_connection((HOST, sink.metrics_port), timeout=1).close()
    except OSError:
        return False
    return True


def committed(bootstrap: str, partition: int) -> int | None:
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id=SINK_GROUP, enable_auto_commit=False)
    try:
        offset: int | None = consumer.committed(TopicPartition(LEDGER, partition))
        return offset
    finally:
        consumer.close(autocommit=False)


def test_what_was_published_is_stored_and_sigterm_ends_the_sink_within_five_seconds(
    make_sink: MakeSink, publisher: Publisher, own_engine: EngineProcess, topics: RunningKafka
) -> None:
    published = {partition: lines(5_000, seed=partition) for partition in range(4)}
    sink = make_sink()
    for partition, entries in published.items():
        publisher.publish(partition, entries)
    wait_until(lambda: count_of(own_engine) == 20_000, "all lines are stored")
    assert stored(own_engine) == expected(published)
    wait_until(lambda: metric(sink, "phonemeter_sink_rows_inserted_total") == 20_000, "the metric says so")
    late = lines(10, seed=9, first=1_000_000)
    publisher.publish(0, late)
    status, took_s = sink.terminate()
    assert (status, took_s < 5) == (0, True), sink.log.read_text()
    assert committed(topics.bootstrap, 1) == 3
    make_sink()
    wait_until(lambda: count_of(own_engine) == 20_010, "the late lines are stored")
    assert stored(own_engine) == expected(published | {0: [*published[0], *late]})


def test_records_published_twice_and_cut_differently_are_stored_once(
    make_sink: MakeSink, publisher: Publisher, own_engine: EngineProcess, topics: RunningKafka
) -> None:
    entries = lines(3_000, seed=1)
    publisher.publish(2, entries[:2_000], cut=700)
    publisher.publish(2, entries[500:2_500], cut=111)
    publisher.publish(2, entries[:3_000], cut=1_999)
    records = ceil(2_000 / 700) + ceil(2_000 / 111) + ceil(3_000 / 1_999)
    sink = make_sink()
    wait_until(lambda: committed(topics.bootstrap, 2) == records, "all is stored")
    assert stored(own_engine) == expected({2: entries})
    # More if there was a rebalance meanwhile.
    assert metric(sink, "phonemeter_sink_duplicate_rows_total") >= 4_000


def test_a_damaged_partition_is_stopped_with_the_way_out_and_the_others_go_on(
    make_sink: MakeSink, publisher: Publisher, own_engine: EngineProcess, topics: RunningKafka
) -> None:
    entries = lines(30, seed=1)
    for start in range(0, 30, 10):
        publisher.publish(0, entries[start : start + 10])
    damage(topics, LEDGER, entries[15].event_id.encode())
    sink = make_sink()
    publisher.publish(1, lines(10, seed=2))
    wait_until(lambda: metric(sink, "phonemeter_sink_stopped", '{partition="0"}') == 1, "it is reported")
    wait_until(lambda: count_of(own_engine) == 20, "the rest is stored")
    # It is logged after it is measured.
    way_out = "run `phonemeter replay --confirm --new-ledger`"
    wait_until(lambda: way_out in sink.log.read_text(), "the way out is logged")
    assert "phone-ledger partition 0 is damaged at offset 1: " in sink.log.read_text()


def test_transactions_of_others_in_the_ledger_topic_neither_stop_the_sink_nor_are_stored_unless_committed(
    make_sink: MakeSink, publisher: Publisher, own_engine: EngineProcess, topics: RunningKafka
) -> None:
    entries = lines(40, seed=1)
    records = [encode_records(0, entries[start : start + 10])[0] for start in range(0, 40, 10)]
    sink = make_sink()
    transaction(topics.bootstrap, LEDGER, records[:1], "commit")
    transaction(topics.bootstrap, LEDGER, [b"of nobody's concern"], "abort")
    publisher.publish_raw(0, records[1])
    transaction(topics.bootstrap, LEDGER, records[2:3], "commit")
    wait_until(lambda: count_of(own_engine) == 30, "what was committed is stored")
    wait_until(lambda: committed(topics.bootstrap, 0) == 7, "the ends of transactions are passed over")
    assert sink.terminate()[0] == 0
    # Restarted behind the control record of a transaction.
    transaction(topics.bootstrap, LEDGER, [b"of nobody's concern"], "abort")
    sink = make_sink()
    publisher.publish_raw(0, records[3])
    wait_until(lambda: count_of(own_engine) == 40, "all is stored")
    assert stored(own_engine) == expected({0: entries})
    assert metric(sink, "phonemeter_sink_seeks_back_total") == 0
    wait_until(
        lambda: metric(sink, "phonemeter_sink_lag_records", '{partition="0"}') == 0,
        "nothing waits",
    )


@pytest.mark.parametrize("loss", LOSSES)
def test_a_table_that_is_emptied_or_dropped_is_filled_again_without_traffic(
    make_sink: MakeSink, publisher: Publisher, own_engine: EngineProcess, loss: str
) -> None:
    entries = lines(40, seed=1)
    publisher.publish(0, entries)
    make_sink()
    wait_until(lambda: count_of(own_engine) == 40, "all lines are stored")
    own_engine.query(loss, "default")
    wait_until(lambda: count_of(own_engine) == 40, "all lines are stored again")
    assert stored(own_engine) == expected({0: entries})
    assert own_engine.query("SELECT count() FROM delivery_states") == [(0,)]


def test_killing_the_sink_in_the_middle_loses_and_doubles_nothing(
    make_sink: MakeSink, publisher: Publisher, own_engine: EngineProcess
) -> None:
    published: dict[int, list[Entry]] = {partition: lines(8_000, seed=partition) for partition in range(4)}

    def publish() -> None:
        for start in range(0, 8_000, 400):
            for partition, entries in published.items():
                publisher.publish(partition, entries[start : start + 400], cut=200)

    thread = threading.Thread(target=publish)
    thread.start()
    sink = make_sink(flush_ms=30, batch_rows=200)
    wait_until(lambda: count_of(own_engine) >= 4_000, "some lines are stored")
    sink.kill()
    make_sink(flush_ms=50)
    thread.join()
    wait_until(lambda: count_of(own_engine) >= 32_000, "all lines are stored")
    assert stored(own_engine) == expected(published)


def test_killing_the_engine_loses_and_doubles_nothing_and_shows_in_the_metrics(
    make_sink: MakeSink, publisher: Publisher, own_engine: EngineProcess
) -> None:
    published = {partition: lines(10_000, seed=partition) for partition in range(2)}
    sink = make_sink(flush_ms=30, batch_rows=500)
    for start in range(0, 10_000, 1_000):
        for partition, entries in published.items():
            publisher.publish(partition, entries[start : start + 1_000], cut=250)
        if start == 3_000:
            wait_until(lambda: count_of(own_engine) > 0, "the engine holds something")
            own_engine.kill()
            before = metric(sink, "phonemeter_sink_insert_errors_total")
            wait_until(
                lambda before=before: metric(sink, "phonemeter_sink_insert_errors_total") >= before + 2,  # type: ignore[misc]  # a default binds the loop's value
                "the sink tries again",
            )
            assert metric(sink, "phonemeter_sink_clickhouse_up") == 0
            own_engine.start()
    wait_until(lambda: count_of(own_engine) >= 20_000, "all lines are stored")
    assert stored(own_engine) == expected(published)
    assert metric(sink, "phonemeter_sink_clickhouse_up") == 1
    assert "attempt 2 failed, the next one in" in sink.log.read_text()


def test_sigterm_ends_a_sink_within_five_seconds_while_the_engine_is_away(
    make_sink: MakeSink, publisher: Publisher, own_engine: EngineProcess
) -> None:
    sink = make_sink()
    publisher.publish(0, lines(10, seed=1))
    wait_until(lambda: count_of(own_engine) == 10, "the sink works")
    own_engine.kill()
    publisher.publish(0, lines(10, seed=2, first=1_000))
    wait_until(lambda: metric(sink, "phonemeter_sink_insert_errors_total") >= 1, "the sink tries again")
    status, took_s = sink.terminate()
    assert (status, took_s < 5) == (0, True), sink.log.read_text()


@pytest.fixture
def proxy(own_engine: EngineProcess) -> Iterator[Proxy]:
    proxy = Proxy(own_engine.port)
    yield proxy
    proxy.close()


def test_a_lost_reply_does_not_double_what_was_stored(
    make_sink: MakeSink, publisher: Publisher, own_engine: EngineProcess, proxy: Proxy
) -> None:
    entries = lines(2_000, seed=5)
    proxy.to_lose = 3
    sink = make_sink(clickhouse=f"clickhouse://default@{HOST}:{proxy.port}/phonemeter", batch_rows=300)
    publisher.publish(1, entries, cut=250)
    wait_until(lambda: count_of(own_engine) >= 2_000, "all lines are stored")
    wait_until(
        lambda: metric(sink, "phonemeter_sink_lag_records", '{partition="1"}') == 0, "all is committed"
    )
    assert stored(own_engine) == expected({1: entries})
    assert proxy.lost == 3
    assert metric(sink, "phonemeter_sink_insert_errors_total") >= 3
    assert "entries were stored already" in sink.log.read_text()


def test_two_sinks_share_the_partitions_and_one_takes_over_from_the_other(
    make_sink: MakeSink, publisher: Publisher, own_engine: EngineProcess
) -> None:
    published = {partition: lines(9_000, seed=partition) for partition in range(4)}
    goals = iter((12_000, 24_000, 36_000))

    def publish_third(number: int) -> None:
        for partition, entries in published.items():
            publisher.publish(partition, entries[number * 3_000 : (number + 1) * 3_000], cut=100)

    def stored_all() -> None:
        goal = next(goals)
        wait_until(lambda: count_of(own_engine) >= goal, f"{goal} lines are stored")

    one = make_sink(flush_ms=50, batch_rows=500)
    publish_third(0)
    two = make_sink(flush_ms=50, batch_rows=500)
    stored_all()
    wait_until(lambda: 'partition="' in str(scraped(two.metrics_port)), "the second sink has partitions")
    publish_third(1)
    stored_all()
    assert metric(two, "phonemeter_sink_rows_inserted_total") > 0
    publish_third(2)
    assert one.terminate()[0] == 0
    stored_all()
    assert stored(own_engine) == expected(published)


def test_a_record_that_cannot_be_read_stops_its_partition_and_no_other(
    make_sink: MakeSink, publisher: Publisher, own_engine: EngineProcess, topics: RunningKafka
) -> None:
    before, behind, beside = lines(100, seed=1), lines(100, seed=2, first=10_000), lines(100, seed=3)
    publisher.publish(0, before)
    publisher.publish_raw(0, b'{"calls": 2}')
    publisher.publish(0, behind)
    publisher.publish(1, beside)
    sink = make_sink()
    wait_until(lambda: metric(sink, "phonemeter_sink_stopped", '{partition="0"}') == 1, "the partition stops")
    wait_until(lambda: count_of(own_engine) == 200, "what came before and beside is stored")
    wait_until(lambda: committed(topics.bootstrap, 0) == 1, "what came before is committed, and no more")
    assert stored(own_engine) == expected({0: before, 1: beside})
    said = "Partition 0 of phone-ledger is stopped at record 1: it is not a ledger record"
    wait_until(lambda: said in sink.log.read_text(), "it is logged")


def test_a_database_that_lost_its_lines_is_filled_again_from_the_log(
    make_sink: MakeSink, publisher: Publisher, own_engine: EngineProcess
) -> None:
    entries = lines(1_000, seed=1)
    publisher.publish(3, entries[:800], cut=100)
    sink = make_sink()
    wait_until(lambda: count_of(own_engine) == 800, "the first lines are stored")
    own_engine.query("TRUNCATE TABLE ledger")
    publisher.publish(3, entries[800:], cut=100)
    wait_until(lambda: count_of(own_engine) == 1_000, "everything is stored again")
    assert stored(own_engine) == expected({3: entries})
    assert metric(sink, "phonemeter_sink_rewinds_total") == 1


@pytest.mark.stack
def test_a_sink_that_is_stopped_before_any_server_is_up_ends(free_port: Callable[[], int]) -> None:
    settings = SinkSettings(
        kafka=f"{HOST}:{free_port()}",
        clickhouse=f"clickhouse://default@{HOST}:{free_port()}/phonemeter",
        sink_metrics_port=free_port(),
    )
    stop = threading.Event()
    thread = threading.Thread(target=service.run, args=(settings,), kwargs={"stop": stop})
    thread.start()
    stop.set()
    thread.join(timeout=WITHIN_S)
    assert not thread.is_alive()


def test_a_taken_port_is_reported_in_a_sentence(own_engine: EngineProcess, topics: RunningKafka) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        settings = SinkSettings(kafka=topics.bootstrap, clickhouse=own_engine.url, sink_metrics_port=port)
        with pytest.raises(SinkError, match=f"port {port} for the sink's metrics cannot be opened"):
            service.run(settings, stop=threading.Event())


def test_an_empty_record_only_moves_on(
    make_sink: MakeSink, publisher: Publisher, own_engine: EngineProcess
) -> None:
    entries = lines(10, seed=1)
    (value,) = encode_records(0, entries)
    publisher.publish_raw(0, value[: value.index(b'"rows":[') + 8] + b"]}")
    publisher.publish(0, entries)
    make_sink()
    wait_until(lambda: count_of(own_engine) == 10, "the lines behind it are stored")
