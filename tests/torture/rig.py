"""All processes of a run, on ports and in a directory of their own. Nothing of it outlives the run."""

import contextlib
import http.client
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from clickhouse_driver.errors import Error

from metering.topics import LEDGER
from phonemeter.settings import load
from phonemeter.stack.kafka.broker import Broker
from phonemeter.stack.kafka.topics import ensure_topics
from phonemeter.stack.probes import http_get
from phonemeter.stack.tied import tied
from sinks.lines import shortened
from tests.ports import free_port
from tests.torture import verdict
from tests.torture.processes import Program
from tests.torture.proxy import HOST, Proxy
from tests.torture.verdict import Count, Log

PARTITIONS = 4
WORKERS = 3
SINKS = 2
DISK_MB = 2_048
"""Of the engine's own file system, where one can be mounted: small enough to be filled."""

TEND_S = 0.1
ANSWERS = (OSError, EOFError, Error)


class Rig:
    """Broker, engine behind a proxy, three workers of which two run, two sinks of which one runs."""

    def __init__(self, directory: Path, mutation: str) -> None:
        settings = load()
        self.directory = directory
        self.deliveries = directory / "deliveries"
        self.kafka_port = free_port()
        self.engine_port, self.engine_http_port = free_port(), free_port()
        self.kafka = f"{HOST}:{self.kafka_port}"
        self.proxy = Proxy(self.engine_port)
        self.disk = directory / "engine" / "disk"
        self.mounted = False
        (directory / "logs").mkdir(parents=True)
        broker = Broker(
            directory / "kafka", settings.cache_dir, self.kafka_port, free_port(), settings.kafka_heap_mb
        )
        self.broker = self._program("broker", broker.prepare(), {})
        engine = ["-m", "phonemeter.engine", "--data", str(self.disk / "data")]
        ports = ["--native-port", str(self.engine_port), "--http-port", str(self.engine_http_port)]
        self.engine = self._program("engine", (sys.executable, *engine, *ports), {})
        self.workers = [self._worker(number, mutation) for number in range(WORKERS)]
        self.sinks = [self._sink(number, mutation) for number in range(SINKS)]

    @property
    def programs(self) -> list[Program]:
        return [self.broker, self.engine, *self.workers, *self.sinks]

    @property
    def clickhouse(self) -> str:
        """The engine without the proxy before it."""
        return f"clickhouse://default@{HOST}:{self.engine_port}/phonemeter"

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def until(self, condition: Callable[[], bool], within_s: float) -> bool:
        """Keep everything running until the condition holds; whether it did within the time."""
        deadline_s = time.monotonic() + within_s
        while time.monotonic() < deadline_s:
            for program in self.programs:
                program.tend()
            if condition():
                return True
            time.sleep(TEND_S)
        return False

    def rest(self, seconds: float) -> None:
        """Keep everything running for a while."""
        self.until(lambda: False, seconds)

    def engine_answers(self) -> bool:
        try:
            return http_get(self.engine_http_port, "/ping")[0] == http.client.OK
        except (OSError, http.client.HTTPException):
            return False

    def visible(self, event_ids: list[str]) -> bool:
        """Whether all these events have a line in ClickHouse."""
        listed = ", ".join(f"'{event_id}'" for event_id in shortened(event_ids, verdict.ID_DIGITS))
        query = f"SELECT uniqExact(event_id) FROM ledger WHERE event_id IN ({listed})"  # noqa: S608 - our own ids
        try:
            return bool(verdict.ask(self.engine_port, query) == [(len(event_ids),)])
        except ANSWERS:
            return False

    def look(self) -> Count:
        """The quick look at what is stored; as if all were well while the engine does not answer."""
        try:
            return verdict.quick_look(self.engine_port)
        except ANSWERS:
            return Count(0, 0)

    def all_stored(self) -> bool:
        """Whether nothing moves any more: the log is metered, and the ledger stored."""
        try:
            log = Log(self.kafka)
            ends = log.ends("phone-events")
            stored = dict(
                verdict.ask(
                    self.engine_port,
                    "SELECT source_partition, max(source_offset) + 1 FROM ledger GROUP BY source_partition",
                )
            )
        except ANSWERS:
            return False
        return {partition: end for partition, end in ends.items() if end} == stored and bool(log.ends(LEDGER))

    def second_engine(self) -> tuple[int, str]:
        """What becomes of an engine that is started on the directory of the one that runs."""
        ports = ["--native-port", "0", "--http-port", "0"]
        command = [sys.executable, "-m", "phonemeter.engine", "--data", str(self.disk / "data"), *ports]
        ended = subprocess.run(tied(command), capture_output=True, text=True, timeout=30, check=False)
        return ended.returncode, ended.stderr

    @contextlib.contextmanager
    def full_disk(self) -> Iterator[str]:
        """No room for the engine's files; says how that was done."""
        if self.mounted:
            filler = self.disk / "filler"
            try:
                with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                    while True:
                        file.write(bytes(1 << 20))
                yield "its file system is full"
            finally:
                filler.unlink(missing_ok=True)
        else:
            self.engine.limit_files(1_024)
            try:
                yield "its files may have 1 KiB at most, because no file system can be mounted here"
            finally:
                self.engine.limit_files(-1)

    def _start(self) -> None:
        self._mount()
        self.broker.start()
        self.engine.start()
        if not self.until(self._kafka_answers, 60) or not self.until(self.engine_answers, 60):
            raise TimeoutError(f"Kafka or the engine did not start; see {self.directory / 'logs'}")
        for program in (*self.workers[:2], self.sinks[0]):
            program.start()

    def _stop(self) -> None:
        for program in (*self.workers, *self.sinks, self.engine, self.broker):
            program.end()
        self.proxy.close()
        if self.mounted:
            subprocess.run(["umount", "--lazy", str(self.disk)], check=False)

    def _mount(self) -> None:
        self.disk.mkdir(parents=True)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "phonemeter-torture", str(self.disk)]
        if shutil.which("mount"):
            self.mounted = subprocess.run(mount, check=False, capture_output=True).returncode == 0

    def _kafka_answers(self) -> bool:
        try:
            ensure_topics(self.kafka, PARTITIONS)
        except Exception:  # noqa: BLE001 - not ready yet, in whatever way
            return False
        return True

    def _worker(self, number: int, mutation: str) -> Program:
        name = f"worker-{number}"
        command = ("-m", "faust", "-A", "tests.torture.worker_app", "--datadir", ".", "worker", "-l", "info")
        return self._program(
            name,
            (sys.executable, *command, "--without-web"),
            {
                "PHONEMETER_KAFKA": self.kafka,
                "PHONEMETER_CLOCK": "events",
                "TORTURE_DELIVERIES": str(self.deliveries),
                "TORTURE_MUTATION": mutation,
            },
        )

    def _sink(self, number: int, mutation: str) -> Program:
        return self._program(
            f"sink-{number}",
            (sys.executable, "-m", "tests.torture.sink_app"),
            {
                "TORTURE_DELIVERIES": str(self.deliveries),
                "TORTURE_MUTATION": mutation,
                "PHONEMETER_KAFKA": self.kafka,
                "PHONEMETER_CLICKHOUSE": f"clickhouse://default@{HOST}:{self.proxy.port}/phonemeter",
                "PHONEMETER_SINK_METRICS_PORT": str(free_port()),
                "PHONEMETER_SINK_FLUSH_MS": "200",
            },
        )

    def _program(self, name: str, command: tuple[str, ...], environ: dict[str, str]) -> Program:
        log = self.directory / "logs" / f"{name}.log"
        return Program(name, command, environ, self.directory / name, log)
