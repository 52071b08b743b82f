"""The one-machine stack: its services started in order, and stopped together."""

import asyncio
import contextlib
import threading
from concurrent.futures import Future
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Self

from phonemeter.errors import OperationError, UserError
from phonemeter.settings import Settings, named, stack_kafka, without_password
from phonemeter.stack import services
from phonemeter.stack.background import BackgroundLoop
from phonemeter.stack.directory import StackDirectory
from phonemeter.stack.kafka.topics import ensure_topics
from phonemeter.stack.limits import check_limits
from phonemeter.stack.ports import check_ports
from phonemeter.stack.services import ServiceName
from phonemeter.stack.supervisor import ServiceSpec, ServiceState, Supervised

STATE_INTERVAL_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The addresses of the stack's services, all on loopback."""

    kafka: str
    clickhouse: str
    clickhouse_http: str
    worker: str
    sink_metrics: str
    settler_metrics: str
    notifier_metrics: str | None
    """None without routes for alerts: no notifier runs."""

    wechat_metrics: str | None
    """None without apps to read at WeChat."""

    gateway: str
    gateway_metrics: str
    console: str
    console_metrics: str
    wechat_sim: str | None
    """None unless the stand-in for WeChat runs."""

    def without_password(self) -> Self:
        """The endpoints without a password."""
        return replace(self, clickhouse=without_password(self.clickhouse))

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Endpoints of the stack that runs with these settings."""
        return cls(
            kafka=settings.kafka,
            clickhouse=settings.clickhouse,
            clickhouse_http=f"http://127.0.0.1:{settings.engine_http_port}",
            worker=f"http://127.0.0.1:{settings.worker_port}",
            sink_metrics=f"http://127.0.0.1:{settings.sink_metrics_port}/metrics",
            settler_metrics=f"http://127.0.0.1:{settings.settler_port}/metrics",
            notifier_metrics=f"http://127.0.0.1:{settings.notifier_port}/metrics"
            if settings.runs_notifier
            else None,
            wechat_metrics=f"http://127.0.0.1:{settings.wechat_port}/metrics"
            if settings.wechat_apps
            else None,
            gateway=f"http://127.0.0.1:{settings.gateway_port}",
            gateway_metrics=f"http://127.0.0.1:{settings.gateway_metrics_port}/metrics",
            console=f"http://127.0.0.1:{settings.console_port}",
            console_metrics=f"http://127.0.0.1:{settings.console_metrics_port}/metrics",
            wechat_sim=f"http://127.0.0.1:{settings.wechat_sim_port}" if settings.wechat_sim else None,
        )


class Stack:
    """Kafka, the engine, the worker, the sink and the settler as supervised processes.

    In `with Stack(settings) as stack:` (or `async with`) it is ready, and afterwards stopped. Step by step:
    `start`, `wait_ready`, `check`, `stop`. Its processes also die with this one, however it dies.
    """

    def __init__(
        self, settings: Settings, *, only: tuple[ServiceName, ...] = services.ALL, make_topics: bool = True
    ) -> None:
        self.settings = settings
        self._make_topics = make_topics
        self.endpoints = Endpoints.of(settings)
        self.directory = StackDirectory(settings.data_dir)
        self._names: tuple[ServiceName, ...] = tuple(
            name for name in services.service_names(settings) if name in only
        )
        self._services: dict[str, Supervised] = {}
        self._opened = contextlib.ExitStack()
        self._loop = BackgroundLoop()
        self.notices: list[str] = []
        """Sentences about settings that were corrected and services that were restarted."""
        self._starting: Future[None] | None = None
        self._watching: Future[None] | None = None
        self._stop_lock = threading.Lock()

    def start(self) -> None:
        """Begin to start everything and return. The first time, Kafka is fetched and formatted before that.

        Raises:
            PhonemeterError: the settings name servers elsewhere, another stack owns the directory, the
                machine allows too little, a port is taken, Kafka could not be fetched or formatted.
        """
        _refuse_foreign_servers(self.settings)
        with contextlib.ExitStack() as opening:
            opening.enter_context(self.directory.owned())
            check_limits(self.directory.path)
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
            raise self.not_ready(limit_s)

    def not_ready(self, waited_s: float) -> OperationError:
        """The error for a stack that was not ready in time, with the state of each service."""
        waiting = [name for name in self._names if self.state(name) is not ServiceState.READY]
        states = "; ".join(map(self._state_sentence, waiting))
        return OperationError(
            f"The stack was not ready within {waited_s:g} s: {states}. "
            f"The logs are in {self.directory.log('kafka').parent}."
        )

    def ready_within(self, timeout_s: float) -> bool:
        """Wait at most `timeout_s` until every service is ready; return whether they are.

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
            raise _first_error(group) from None
        return True

    def check(self) -> None:
        """Check that no service was given up.

        Raises:
            ServiceFailedError: one was given up.
        """
        for service in self._services.values():
            service.check()

    def stop(self) -> None:
        """Stop everything within 10 s, in the opposite order, and release the directory. Idempotent."""
        with self._stop_lock, self._opened:
            if self._starting is None:
                return
            self._starting.cancel()
            if self._watching is not None:
                self._watching.cancel()
            self._loop.run(self._stop_all())
            self._starting = None

    def pid(self, name: ServiceName) -> int | None:
        """Process id of a service while its process runs."""
        service = self._services.get(name)
        return None if service is None else service.pid

    def restart_count(self, name: ServiceName) -> int:
        """Number of restarts of a service since the stack started."""
        service = self._services.get(name)
        return 0 if service is None else service.restart_count

    def state(self, name: ServiceName) -> ServiceState:
        """The state of a service."""
        service = self._services.get(name)
        return ServiceState.STOPPED if service is None else service.state

    def describe(self) -> dict[str, Any]:
        """The stack for `phonemeter status`: endpoints without password, and the state of each service."""
        return {
            "endpoints": asdict(self.endpoints.without_password()),
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

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.stop)

    async def _start_all(self, kafka: ServiceSpec | None) -> None:
        """Start Kafka and the engine, create the topics when Kafka is ready, then start the stages."""
        async with asyncio.TaskGroup() as holding:
            if kafka is not None:
                holding.create_task(self._start_kafka(kafka))
            if "engine" in self._names:
                holding.create_task(self._start(services.program("engine", self.settings, self.directory)))
        async with asyncio.TaskGroup() as working:
            for name in self._names:
                if name in services.STAGES:
                    working.create_task(self._start(services.program(name, self.settings, self.directory)))

    async def _start_kafka(self, service: ServiceSpec) -> None:
        await self._start(service)
        if not self._make_topics:
            return
        # The broker belongs to the stack, so settings that were changed on it are corrected.
        done = await asyncio.to_thread(
            ensure_topics, self.settings.kafka_access, self.settings.partitions, fix=True
        )
        self.notices.extend((*done.changed, *done.advice))

    async def _start(self, service: ServiceSpec) -> None:
        supervised = self._services[service.name] = Supervised(service, self.notices.append)
        await supervised.start()

    async def _stop_all(self) -> None:
        for names in (services.STAGES, services.DATA):
            await asyncio.gather(*(self._services[name].stop() for name in names if name in self._services))

    async def _publish_state(self) -> None:
        written: dict[str, Any] = {}
        while True:
            described = self.describe()
            if described != written:
                # On a full disk it is written later: the stack does not depend on it.
                with contextlib.suppress(OSError):
                    self.directory.write_state(described)
                    written = described
            await asyncio.sleep(STATE_INTERVAL_S)

    def _state_sentence(self, name: ServiceName) -> str:
        service = self._services.get(name)
        words = "" if service is None else service.last_error
        return f"{name} is {self.state(name)}{f' and said last: {words}' if words else ''}"


def _refuse_foreign_servers(settings: Settings) -> None:
    own = stack_kafka(settings.kafka_port)
    if settings.kafka != own:
        raise UserError(
            f"{named('kafka')} is {settings.kafka} but the stack's own would be {own}; leave it out, or run "
            f"the services without the stack: phonemeter worker, phonemeter sink."
        )
    if settings.kafka_security != "plaintext":
        raise UserError(
            f"{named('kafka_security')} is {settings.kafka_security} but the stack's own Kafka is on "
            f"loopback without it; leave it out, or run the services without the stack: phonemeter "
            f"worker, phonemeter sink."
        )
    native = f"127.0.0.1:{settings.engine_native_port}"
    if f"@{native}/" not in settings.clickhouse:
        raise UserError(
            f"{named('clickhouse')} names another server than the stack's own at {native}; leave it out, or "
            f"run the services without the stack: phonemeter worker, phonemeter sink."
        )


def _first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
