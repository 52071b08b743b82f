"""Metrics of a command that may run for long, served while it does."""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server

from phonemeter.errors import UserError


@contextmanager
def serving(registry: CollectorRegistry, host: str, port: int | None) -> Iterator[None]:
    """Serve metrics for as long as the block lasts; without a port serve nothing.

    Raises:
        UserError: the port is taken.
    """
    if port is None:
        yield
        return
    try:
        server, thread = start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        raise UserError(
            f"port {port} for the metrics cannot be opened ({error.strerror}): free it, or give another with "
            f"--metrics-port"
        ) from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
