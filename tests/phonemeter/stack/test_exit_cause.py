"""The sentence of a service that ended, out of logs as the services write them."""

from pathlib import Path

import pytest

from phonemeter.stack.exit_cause import SENTENCE_CHARS_MAX, TAIL_BYTES, advice, last_error

OPEN_FILES = """\
2026-11-29T14:25:43.058Z WARN [QuorumController id=1] Performing controller activation. (QuorumController)
2026-11-29T14:25:43.137Z ERROR Encountered fatal fault: caught exception (ProcessTerminatingFaultHandler)
org.apache.kafka.common.KafkaException: java.io.IOException: Too many open files
	at org.apache.kafka.common.network.Selector.<init>(Selector.java:162) ~[kafka-clients-4.3.1.jar:?]
	at kafka.Kafka.main(Kafka.scala) [kafka_2.13-4.3.1.jar:?]
Caused by: java.io.IOException: Too many open files
	at java.base/sun.nio.ch.EventFD.eventfd0(Native Method) ~[?:?]
	... 11 more
"""
FULL_DISK = """\
2026-11-29T14:28:28.211Z ERROR Error while appending to phone-events-1 in dir /data (LogDirFailureChannel)
java.io.IOException: No space left on device
	at java.base/sun.nio.ch.UnixFileDispatcherImpl.write0(Native Method) ~[?:?]
	at org.apache.kafka.storage.internals.log.LogSegment.append(LogSegment.java:260) ~[kafka-s"""
NO_MEMORY = """\
NOTE: Picked up JDK_JAVA_OPTIONS: -XX:TieredStopAtLevel=1
Error occurred during initialization of VM
Could not allocate compressed class space: 1073741824 bytes
"""
WORKER = """\
┌ƒaµS† v0.15.3─┬────────────────────────┐
│ id           │ phonemeter-worker      │
[2026-11-29T14:33:57.610Z] [4287] [CRITICAL] the worker stops: the topic was cut
[2026-11-29T14:33:57.663Z] [4287] [INFO] [^Worker]: Gathering all futures...
[2026-11-29T14:33:58.665Z] [4287] [CRITICAL] [^Worker]: We experienced a crash! Reraising ...
Traceback (most recent call last):
  File "streams/worker.py", line 5, in run
    raise LogTruncatedError(
streams.state_restore.LogTruncatedError: phone-events partition 0 holds offsets 20601 to 20607
[2026-11-29T14:33:59.665Z] [4287] [INFO] [^Worker]: Closing event loop
"""
SINK = """\
2026-11-29T14:33:17.577Z INFO sinks.service: The sink is ready; metrics on http://127.0.0.1:21005/metrics.
2026-11-29T14:33:18.577Z ERROR sinks.sink: The sink stops: the schema is newer than this sink.
2026-11-29T14:33:19.419Z INFO sinks.signals: SIGTERM: storing what is held.
"""
JSON_SINK = """\
{"time":"2026-11-29T14:33:17.577Z","level":"INFO","logger":"sinks.service","message":"The sink is ready."}
{"time":"2026-11-29T14:33:18.577Z","level":"ERROR","logger":"sinks.sink","message":"The sink stops: too new."}
{"time":"2026-11-29T14:33:19.419Z","level":"INFO","logger":"sinks.signals","message":"SIGTERM: storing."}
"""
JSON_WORKER = """\
{"level":"CRITICAL","message":"[^Worker]: We experienced a crash! ...",\
"exception":"Traceback (most recent call last):\\n  File \\"streams/worker.py\\", line 5, in run\\n\
streams.state.CutError: the topic was cut"}
{"level":"INFO","message":"[^Worker]: Closing event loop"}
{"time": 1, "level": []
"""
ENGINE = '{"ready": true, "native_port": 21002, "http_port": 21003}\n'
CRASH = """\
{"ready": true, "native_port": 21002, "http_port": 21003}
Fatal Python error: Segmentation fault

Thread 0x00007f5a51ffb6c0 (most recent call first):
  File "/phonemeter/engine/watch.py", line 77 in _run
  File "/lib/python3.11/threading.py", line 982 in run

Current thread 0x00007f5a527fc6c0 (most recent call first):
  File "/phonemeter/engine/session.py", line 221 in _guarded
  File "/phonemeter/engine/session.py", line 129 in command

Extension modules: charset_normalizer.md, msgspec._core (total: 2)
"""
CRASH_ELSEWHERE = """\
Fatal Python error: Segmentation fault

Thread 0x00007f5a51ffb6c0 (most recent call first):
  File "/phonemeter/engine/watch.py", line 77 in _run
"""


@pytest.mark.parametrize(
    ("log", "sentence"),
    [
        (OPEN_FILES, "Too many open files"),
        (FULL_DISK, "No space left on device"),
        (NO_MEMORY, "Could not allocate compressed class space: 1073741824 bytes"),
        (WORKER, "phone-events partition 0 holds offsets 20601 to 20607"),
        (SINK, "The sink stops: the schema is newer than this sink"),
        (JSON_SINK, "The sink stops: too new"),
        (JSON_WORKER, "the topic was cut"),
        (ENGINE, ""),
        (CRASH, "Fatal Python error: Segmentation fault, in _guarded (session.py, line 221)"),
        (CRASH_ELSEWHERE, "Fatal Python error: Segmentation fault, in a thread of a library"),
        ("", ""),
    ],
    ids=[
        "open files",
        "full disk",
        "no memory",
        "worker",
        "sink",
        "sink in JSON",
        "worker in JSON",
        "engine",
        "crash",
        "crash elsewhere",
        "nothing",
    ],
)
def test_the_sentence_is_told_and_neither_frames_nor_chat(tmp_path: Path, log: str, sentence: str) -> None:
    (tmp_path / "log").write_text(log, encoding="utf-8")
    assert last_error(tmp_path / "log") == sentence


def test_what_an_earlier_run_said_is_not_told_again(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(OPEN_FILES)
    begin = log.stat().st_size
    assert last_error(log, begin) == ""
    with log.open("a") as more:
        more.write("cannot go on\n")
    assert last_error(log, begin) == "cannot go on"


def test_a_log_that_was_emptied_meanwhile_is_read_from_its_beginning(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("cannot go on\n")
    assert last_error(tmp_path / "log", 10_000) == "cannot go on"


def test_a_log_of_any_size_is_read_within_bounds(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(f"too early\n{' ' * TAIL_BYTES}\n{'x' * 10_000}\n")
    assert last_error(tmp_path / "log") == "x" * SENTENCE_CHARS_MAX


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("Too many open files", "ulimit -n"),
        ("java.lang.OutOfMemoryError: Java heap space", "PHONEMETER_KAFKA_HEAP_MB"),
        ("java.lang.OutOfMemoryError: unable to create native thread: possibly out of memory", "ulimit -u"),
        ("Could not reserve enough space for 393216KB object heap", "ulimit -v unlimited"),
        ("No space left on device", "disk of"),
    ],
)
def test_a_known_cause_is_told_with_what_to_do(tmp_path: Path, words: str, told: str) -> None:
    assert told in advice(words, tmp_path)


def test_an_unknown_cause_has_no_advice(tmp_path: Path) -> None:
    assert advice("the schema is newer than this sink", tmp_path) == ""
