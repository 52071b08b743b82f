"""A producer and its process: forks, the end of the interpreter, Ctrl-C; each program is a process."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conftest import RunningKafka
from tests.producers.test_client import stored
from tests.waiting import WITHIN_S

BEGIN = """
import logging, multiprocessing, os, signal, sys, threading, time
from datetime import UTC, datetime
from producers.interface import EventProducer, authorization_succeeded

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
logging.getLogger("kafka").setLevel(logging.CRITICAL)

def tap(code):
    now = datetime.now(UTC)
    return authorization_succeeded(appid="wxapp1", code=code, capability="quick", time=now, scene=code)

producer = EventProducer()
"""


def run(program: str, kafka: str, status: int = 0) -> str:
    """Run a program to its end, and return what it logged."""
    ran = subprocess.run(
        [sys.executable, "-c", BEGIN + program],
        env={**os.environ, "PHONEMETER_KAFKA": kafka},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=WITHIN_S,
    )
    assert ran.returncode == status, ran.stderr
    assert "Traceback" not in ran.stderr
    return ran.stderr


def codes(kafka: RunningKafka) -> list[str]:
    """The codes of all stored taps, which the programs give as scenes."""
    values = [value for records in stored(kafka.bootstrap).values() for _, value in records]
    return sorted(str(value.partition(b'"scene":"')[2].partition(b'"')[0].decode()) for value in values)


def numbered(*names: str, events: int = 20) -> Sequence[str]:
    return sorted(f"{name}-{number}" for name in names for number in range(events))


def test_what_is_queued_when_the_interpreter_ends_is_delivered(topics: RunningKafka) -> None:
    run("for number in range(20): producer.publish(tap(f'a-{number}'))", topics.bootstrap)
    assert codes(topics) == numbered("a")


def test_a_producer_that_nothing_refers_to_delivers_all_the_same(topics: RunningKafka) -> None:
    run("for number in range(20): EventProducer().publish(tap(f'a-{number}'))", topics.bootstrap)
    assert codes(topics) == numbered("a")


def test_a_thread_that_outlives_the_main_thread_may_publish_to_its_end(topics: RunningKafka) -> None:
    program = """
def work():
    threading.main_thread().join()
    for number in range(20):
        producer.publish(tap(f"a-{number}"))

producer.publish(tap("b-0"))
threading.Thread(target=work).start()
"""
    run(program, topics.bootstrap)
    assert codes(topics) == [*numbered("a"), "b-0"]


def test_a_process_that_ends_while_kafka_is_away_says_how_many_events_it_gave_up() -> None:
    program = """
import producers.process_life as life
life.EXIT_S = 0.3
for number in range(20): producer.publish(tap(f"a-{number}"))
"""
    logged = run(program, "127.0.0.1:1")
    assert "ERROR The process ended before 20 event(s) were delivered; they are given up." in logged


@pytest.mark.parametrize(
    "published_before", ["", "producer.publish(tap('p-0')); producer.flush()"], ids=["new", "connected"]
)
def test_after_a_fork_each_process_sends_its_own_events_and_no_other(
    topics: RunningKafka, published_before: str
) -> None:
    program = f"""
{published_before}
children = []
for child in ("a", "b"):
    pid = os.fork()
    if not pid:
        for number in range(20): producer.publish(tap(f"{{child}}-{{number}}"))
        sys.exit()
    children.append(pid)
for number in range(20): producer.publish(tap(f"c-{{number}}"))
for pid in children:
    assert os.waitpid(pid, 0)[1] == 0
producer.close()
"""
    run(program, topics.bootstrap)
    own = ["p-0"] if published_before else []
    assert codes(topics) == [*numbered("a", "b", "c"), *own]


def test_a_fork_with_events_in_the_queue_sends_them_once(topics: RunningKafka) -> None:
    program = """
from producers.kafka_transport import KafkaTransport
connect, forked = KafkaTransport.connect, threading.Event()
parent = os.getpid()
KafkaTransport.connect = lambda transport: (os.getpid() != parent or forked.wait(), connect(transport))
for number in range(20): producer.publish(tap(f"a-{number}"))
assert producer.counts.waiting == 20
pid = os.fork()
if not pid:
    assert producer.counts.waiting == 0
    producer.publish(tap("b-0")).result()
    sys.exit()
assert os.waitpid(pid, 0)[1] == 0
assert producer.counts.waiting == 20
forked.set()
"""
    run(program, topics.bootstrap)
    assert codes(topics) == [*numbered("a"), "b-0"]


def test_a_fork_while_other_threads_publish_loses_and_doubles_nothing(topics: RunningKafka) -> None:
    program = """
def work(name):
    for number in range(20):
        producer.publish(tap(f"{name}-{number}"))
        time.sleep(0)

threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
for thread in threads: thread.start()
for name in "cd":
    pid = os.fork()
    if not pid:
        work(name)
        producer.close()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
"""
    run(program, topics.bootstrap)
    assert codes(topics) == numbered("a", "b", "c", "d")


def test_children_of_multiprocessing_deliver_before_they_end(topics: RunningKafka) -> None:
    program = """
def work(name):
    for number in range(20): producer.publish(tap(f"{name}-{number}"))

if __name__ == "__main__":
    producer.publish(tap("p-0")).result()
    with multiprocessing.get_context("fork").Pool(2) as pool:
        pool.map(work, "ab")
        pool.close()
        pool.join()
"""
    run(program, topics.bootstrap)
    assert codes(topics) == [*numbered("a", "b"), "p-0"]


def test_ctrl_c_ends_the_program_and_delivers_what_is_queued(topics: RunningKafka) -> None:
    program = """
for number in range(20): producer.publish(tap(f"a-{number}"))
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    sys.exit(3)
"""
    run(program, topics.bootstrap, status=3)
    assert codes(topics) == numbered("a")
