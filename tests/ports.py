"""Ports for the parts that tests start."""

import itertools
import os
import random
import socket
from collections.abc import Iterator

from phonemeter.stack.probes import HOST

FIRST, LAST = 20_000, 32_000
"""Below the range from which the kernel serves outgoing connections, so none takes them."""


def free_port() -> int:
    """A port that is free now and that is given once in this run."""
    while True:
        port = next(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port


def _ports() -> Iterator[int]:
    """This process' own part of the range, again and again.

    A test names a port before it opens it, and closes and opens it again: meanwhile it only looks free. So no
    port is given twice, and processes that share the tests do not share the ports.
    """
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    own = range(FIRST + process % processes, LAST, processes)
    begin = random.randrange(len(own))  # noqa: S311 - no secret
    return itertools.cycle((*own[begin:], *own[:begin]))


_PORTS = _ports()
