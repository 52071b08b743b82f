"""Kafka and ClickHouse of the one-machine stack, started for a command if the stack is down."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from phonemeter.settings import Settings, stack_kafka
from phonemeter.stack.directory import StackDirectory
from phonemeter.stack.services import ServiceName
from phonemeter.stack.stack import Stack
from phonemeter.stack.supervisor import ServiceState
from phonemeter.terminal import say

PROBE_TIMEOUT_S: Final = 3.0
LOOK_S: Final = 0.2
NOT_YET: Final = frozenset({ServiceState.STOPPED, ServiceState.STARTING})


@contextmanager
def data_services(
    settings: Settings, names: tuple[ServiceName, ...], *, for_restore: bool = False
) -> Iterator[bool]:
    """Start these services of a stack that is down for the block; yields whether it had to.

    A running stack and servers elsewhere are left as they are. A stack that is just starting is waited for,
    at most `ready_timeout_s`, with a message. For a restore they are also started where there is no data yet,
    and the topics are left to it.

    Raises:
        PhonemeterError: the stack's services do not start.
    """
    own = settings.kafka == stack_kafka(settings.kafka_port)
    if own:
        _wait_for_its_start(settings)
    has_data = for_restore or (settings.data_dir / "kafka").exists()
    if not own or _listens(settings.kafka_port) or not has_data:
        yield False
        return
    with Stack(settings, only=names, make_topics=not for_restore):
        yield True


def _wait_for_its_start(settings: Settings) -> None:
    """Wait until no service of the stack on the data directory is starting, or it takes too long."""
    directory = StackDirectory(settings.data_dir)
    deadline_s = time.monotonic() + settings.ready_timeout_s
    told = False
    while directory.is_owned() and time.monotonic() < deadline_s:
        starting = _starting(directory.read_state())
        if not starting:
            return
        if not told:
            say(
                f"The stack on {directory.path} is starting ({', '.join(starting)}): waiting until it is "
                f"ready, at most {settings.ready_timeout_s:g} s.",
                stderr=True,
            )
            told = True
        time.sleep(LOOK_S)


def _starting(state: dict[str, Any] | None) -> list[str]:
    """The services that are still starting; one that has failed is not."""
    if state is None:
        return ["no service yet"]
    return [name for name, one in state["services"].items() if one["state"] in NOT_YET]


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), PROBE_TIMEOUT_S).close()
    except OSError:
        return False
    return True
