"""The one-machine stack as one thing: started in order, ready as one, stopped as one."""

import asyncio
import contextlib
import threading
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any, Final, Self

from phonemeter.errors import OperationError, UserError
from phonemeter.settings import Settings, named, stack_kafka
from phonemeter.stack import services
from phonemeter.stack.background import BackgroundLoop
from phonemeter.stack.directory import StackDirectory
from phonemeter.stack.kafka.topics import ensure_topics
from phonemeter.stack.ports import check_ports
from phonemeter.stack.services import Name
from phonemeter.stack.supervisor import Service, State, Supervised, last_line

STATE_INTERVAL_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the stack's parts are reached, all on loopback."""

    kafka: str
    clickhouse: str
    clickhouse_http: str
    worker: str
    sink_metrics: str
    notifier_metrics: str | None
    """None where no routes for alerts are set: then no notifier runs."""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Endpoints of the stack that runs with these settings."""
        return cls(
            kafka=settings.kafka,
            clickhouse=settings.clickhouse,
            clickhouse_http=f"http://127.0.0.1:{settings.engine_http_port}",
            worker=f"http://127.0.0.1:{settings.worker_port}",
            sink_metrics=f"http://127.0.0.1:{settings.sink_metrics_port}/metrics",
            notifier_metrics=f"http://127.0.0.1:{settings.notifier_port}/metrics"
            if settings.alert_routes
            else None,
        )


class Stack:
    """Kafka, the engine, the worker and the sink as supervised processes.

    `with Stack(settings) as stack:` (or `async with`) is ready when it begins and gone when it ends. Step by
    step: `start`, `wait_ready`, `check`, `stop`. Its processes also die with this one, however it dies.
    """

    def __init__(self, settings: Settings, *, only: tuple[Name, ...] = services.ALL) -> None:
        self.settings = settings
        self.endpoints = Endpoints.of(settings)
        self.directory = StackDirectory(settings.data_dir)
        self._names: tuple[Name, ...] = tuple(name for name in services.wanted(settings) if name in only)
        self._services: dict[str, Supervised] = {}
        self._opened = contextlib.ExitStack()
        self._loop = BackgroundLoop()
        self._starting: Future[None] | None = None
        self._watching: Future[None] | None = None
        self._stop_lock = threading.Lock()

    def start(self) -> None:
        """Begin to start everything and return. The first time Kafka is fetched and formatted before that.

        Raises:
            PhonemeterError: the settings name servers elsewhere, another stack owns the directory, a port is
                taken, Java or Maven is missing.
        """
        self._refuse_foreign_servers()
        with contextlib.ExitStack() as opening:
            opening.enter_context(self.directory.owned())
            check_ports(
                {
                    field: getattr(self.settings, field)
                    for name in self._names
                    for field in services.PORTS[name]
                }
            )
            kafka = services.kafka(self.settings, self.directory) if "kafka" in self._names else None
            opening.enter_context(self._loop)
            self._opened = opening.pop_all()
        self._starting = self._loop.begin(self._start_all(kafka))
        self._watching = self._loop.begin(self._publish_state())

    def wait_ready(self, timeout_s: float | None = None) -> None:
        """Wait until every service is ready, at most `timeout_s`, or the setting `ready_timeout_s`.

        Raises:
            PhonemeterError: it will not become ready, or did not in time; the stack still has to be stopped.
        """
        limit_s = self.settings.ready_timeout_s if timeout_s is None else timeout_s
        if not self.ready_within(limit_s):
            raise OperationError(f"The stack was not ready within {limit_s:g} s: {self._unready()}")

    def ready_within(self, timeout_s: float) -> bool:
        """Wait at most `timeout_s` until every service is ready; whether they are.

        Raises:
            PhonemeterError: they will not become ready; the stack still has to be stopped.
        """
        if self._starting is None:
            raise OperationError("The stack was not started.")
        try:
            self._starting.result(timeout_s)
        except TimeoutError:
            return False
        except BaseExceptionGroup as group:
            raise _first(group) from None
        return True

    def check(self) -> None:
        """Return at once if no service was given up.

        Raises:
            ServiceFailedError: one was.
        """
        for service in self._services.values():
            service.check()

    def stop(self) -> None:
        """Stop everything within 10 s, in the opposite order, and give the directory back. Idempotent."""
        with self._stop_lock, self._opened:
            if self._starting is None:
                return
            self._starting.cancel()
            if self._watching is not None:
                self._watching.cancel()
            self._loop.run(self._stop_all())
            self._starting = None

    def pid(self, name: Name) -> int | None:
        """Process id of a service while its process runs."""
        service = self._services.get(name)
        return None if service is None else service.pid

    def restart_count(self, name: Name) -> int:
        """How often a service was started again since the stack started."""
        service = self._services.get(name)
        return 0 if service is None else service.restart_count

    def state(self, name: Name) -> State:
        """Where a service is in its life."""
        service = self._services.get(name)
        return State.STOPPED if service is None else service.state

    def describe(self) -> dict[str, Any]:
        """The stack as `phonemeter status` shows it: endpoints, and per service its state."""
        return {
            "endpoints": asdict(self.endpoints),
            "services": {
                name: {
                    "state": self.state(name).value,
                    "pid": self.pid(name),
                    "restarts": self.restart_count(name),
                    "log": str(self.directory.log(name)),
                }
                for name in self._names
            },
        }

    def __enter__(self) -> Self:
        try:
            self.start()
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)

    def _refuse_foreign_servers(self) -> None:
        own = stack_kafka(self.settings.kafka_port)
        if self.settings.kafka != own:
            raise UserError(
                f"{named('kafka')} is {self.settings.kafka} but the stack's own would be {own}; leave it "
                f"out, or run the services without the stack: phonemeter worker, phonemeter sink."
            )
        native = f"@127.0.0.1:{self.settings.engine_native_port}/"
        if native not in self.settings.clickhouse:
            raise UserError(
                f"{named('clickhouse')} names another server than the stack's own at 127.0.0.1:"
                f"{self.settings.engine_native_port}; leave it out, or run the services without the stack: "
                f"phonemeter worker, phonemeter sink."
            )

    async def _start_all(self, kafka: Service | None) -> None:
        """Those that hold data at once; the topics as soon as Kafka is there; then those that work."""
        async with asyncio.TaskGroup() as holding:
            if kafka is not None:
                holding.create_task(self._start_kafka(kafka))
            if "engine" in self._names:
                holding.create_task(self._start(services.ours("engine", self.settings, self.directory)))
        async with asyncio.TaskGroup() as working:
            for name in self._names:
                if name in services.WORK:
                    working.create_task(self._start(services.ours(name, self.settings, self.directory)))

    async def _start_kafka(self, service: Service) -> None:
        await self._start(service)
        await asyncio.to_thread(ensure_topics, self.settings.kafka, self.settings.partitions)

    async def _start(self, service: Service) -> None:
        supervised = self._services[service.name] = Supervised(service)
        await supervised.start()

    async def _stop_all(self) -> None:
        for names in (services.WORK, services.HOLD):
            await asyncio.gather(*(self._services[name].stop() for name in names if name in self._services))

    async def _publish_state(self) -> None:
        written: dict[str, Any] = {}
        while True:
            described = self.describe()
            if described != written:
                self.directory.write_state(described)
                written = described
            await asyncio.sleep(STATE_INTERVAL_S)

    def _unready(self) -> str:
        waiting = [name for name in self._names if self.state(name) is not State.READY]
        return "; ".join(
            f"{name} is {self.state(name)}, its log {self.directory.log(name)} ends with: "
            f"{last_line(self.directory.log(name))}"
            for name in waiting
        )


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
