"""Ports of the stack, checked before anything starts."""

import contextlib
import socket
from collections.abc import Iterator, Mapping

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from phonemeter.errors import UserError
from phonemeter.stack.probes import HOST

RELEASE_S = 2.0
"""Time that a killed predecessor may take to release its ports."""


class PortTakenError(UserError):
    """A port of the stack is in use."""


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[None]:
    """Listen on a port in the block, as servers do: one in TIME_WAIT is free.

    Raises:
        OSError: it is in use, or not this machine's.
        OverflowError: it is no port.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1)
        yield


def check_ports(settings: Mapping[str, int]) -> None:
    """Check that each port is free and named once; `settings` maps a setting's name to its port.

    Raises:
        PortTakenError: one is in use, or two settings name the same.
    """
    for attempt in Retrying(
        stop=stop_after_delay(RELEASE_S),
        wait=wait_fixed(0.1),
        retry=retry_if_exception_type(PortTakenError),
        reraise=True,
    ):
        with attempt:
            _bind_all(settings)


def _bind_all(settings: Mapping[str, int]) -> None:
    with contextlib.ExitStack() as opened:
        for name, port in settings.items():
            try:
                opened.enter_context(listening(HOST, port))
            except OSError as error:
                raise PortTakenError(
                    f"Port {port} cannot be used ({error.strerror}); stop what listens on it, or set "
                    f"PHONEMETER_{name.upper()} ({name} in phonemeter.toml) to a free port."
                ) from None
