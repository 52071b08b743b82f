"""Simulated processes and a virtual clock.

Everything that a simulated process does goes through its event loop's `call_soon` and `call_at`. So a process
can be killed between any two steps, and never runs again, without any clean-up; or frozen, and later resumes
with the next step.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, Final, TypeVar

from greenlet import getcurrent, greenlet

T = TypeVar("T")

_running: ContextVar["Process | None"] = ContextVar("process", default=None)


class StandstillError(Exception):
    """Nothing is scheduled any more, but something is still awaited."""


class Process:
    """A simulated operating system process."""

    def __init__(self, loop: "VirtualTimeLoop", name: str) -> None:
        self.name = name
        self.dead = False
        self.frozen = False
        self._loop = loop
        self._parked: list[tuple[Callable[..., object], tuple[Any, ...], Context | None]] = []
        self._tasks: list[asyncio.Task[Any]] = []

    def spawn(self, work: Coroutine[Any, Any, object]) -> "asyncio.Task[Any]":
        """Start a task of this process."""
        context = copy_context()
        context.run(_running.set, self)
        self._tasks.append(self._loop.create_task(work, context=context))
        return self._tasks[-1]

    def kill(self) -> None:
        """Kill -9."""
        self.dead = True

    def freeze(self) -> None:
        """SIGSTOP."""
        self.frozen = True

    def thaw(self) -> None:
        """SIGCONT."""
        self.frozen = False
        parked, self._parked = self._parked, []
        for callback, arguments, context in parked:
            self._loop.call_soon(callback, *arguments, context=context)

    def gate(
        self, callback: Callable[..., object], arguments: tuple[Any, ...], context: Context | None
    ) -> None:
        """Run the next step of the process, or park it while the process is frozen or dead."""
        if self.frozen or self.dead:
            self._parked.append((callback, arguments, context))
        else:
            callback(*arguments)

    async def clean_up(self) -> None:
        """Cancel the tasks of a dead process, so that Python does not warn of them."""
        for task in self._tasks:
            task.cancel()
        self.dead = False
        self.thaw()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class VirtualTimeLoop(asyncio.BaseEventLoop):
    """An event loop without input and output, whose clock jumps to the next scheduled call."""

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0
        self._selector = self

    def time(self) -> float:
        return self._now_s

    def select(self, timeout_s: float | None) -> list[object]:
        """Advance the clock; asyncio calls this to wait."""
        if timeout_s is None:
            raise StandstillError("nothing is scheduled any more")
        self._now_s += max(0.0, timeout_s)
        return []

    def call_soon(  # type: ignore[override]  # typeshed's variadic signature says nothing more
        self,
        callback: Callable[..., object],
        *args: Any,  # noqa: ANN401 - asyncio's
        context: Context | None = None,
    ) -> asyncio.Handle:
        process = _running.get() if context is None else context.get(_running)
        if process is None:
            return super().call_soon(callback, *args, context=context)
        return super().call_soon(process.gate, callback, args, context, context=context)

    def call_at(  # type: ignore[override]  # typeshed's variadic signature says nothing more
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,  # noqa: ANN401 - asyncio's
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        process = _running.get() if context is None else context.get(_running)
        if process is None:
            return super().call_at(when, callback, *args, context=context)
        return super().call_at(when, process.gate, callback, args, context, context=context)

    def _process_events(self, events: list[object]) -> None:
        """Do nothing: there are no events."""

    def _write_to_self(self) -> None:
        """Do nothing: there are no other threads."""


def running_process() -> Process:
    """The process whose step this is."""
    process = _running.get()
    if process is None:
        raise LookupError("no simulated process runs this")
    return process


OUTSIDE: Final = Context()
"""The context of everything outside of processes: the network, the broker, the engine."""


async def blocking(work: Callable[[], T]) -> T:
    """Run synchronous work; while it waits with `wait`, others run."""
    strand = greenlet(work)
    asked = strand.switch()
    while not strand.dead:
        try:
            answer = await asked
        except BaseException as error:  # noqa: BLE001 - the caller of `wait` handles it
            asked = strand.throw(error)
        else:
            asked = strand.switch(answer)
    result: T = asked
    return result


def wait(awaitable: Awaitable[T]) -> T:
    """Wait for something asynchronous, within `blocking`."""
    answer: T = getcurrent().parent.switch(awaitable)
    return answer
