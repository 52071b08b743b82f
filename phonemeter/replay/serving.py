"""The one-machine stack's data without its workers: Kafka, and ClickHouse where asked for, while needed."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from phonemeter.settings import Settings, stack_kafka
from phonemeter.stack.services import Name
from phonemeter.stack.stack import Stack

PROBE_TIMEOUT_S: Final = 3.0


@contextmanager
def serving(settings: Settings, names: tuple[Name, ...]) -> Iterator[bool]:
    """Start these services of a stack that is down, for the time of the context; says whether it had to.

    A stack that runs and servers elsewhere are left as they are.

    Raises:
        PhonemeterError: the stack's services do not start.
    """
    own = settings.kafka == stack_kafka(settings.kafka_port)
    if not own or _listens(settings.kafka_port) or not (settings.data_dir / "kafka").exists():
        yield False
        return
    with Stack(settings, only=names):
        yield True


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), PROBE_TIMEOUT_S).close()
    except OSError:
        return False
    return True
