"""The process: two listening ports in front of one engine, started and stopped as one."""

import contextlib
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import Final

from phonemeter.engine.chdb_engine import Engine, StartError
from phonemeter.engine.config import MAX_CONNECTIONS, SHUTDOWN_GRACE_S, EngineConfig
from phonemeter.engine.damage import Damage
from phonemeter.engine.errors import TOO_MANY_QUERIES, EngineError
from phonemeter.engine.metrics import Metrics
from phonemeter.engine.native import NativeConnection, exception_packet
from phonemeter.engine.watch import Watch
from phonemeter.engine.web import HttpService

BACKLOG: Final = 128
EXIT_REFUSED: Final = 2

Serve = Callable[[socket.socket], None]


def serve(config: EngineConfig) -> int:
    """Serve `config.data` until SIGTERM or SIGINT, or damage; returns the exit status if it could not start.

    Prints one JSON line with the ports once clients can connect, and ends the process when told to stop.
    What prevents the start is one sentence on stderr.
    """
    problem = config.problem()
    if problem is not None:
        return _refuse(problem)
    stopping = threading.Event()
    try:
        ports = [_bind(config.host, port) for port in (config.native_port, config.http_port)]
        engine = Engine(config.data, Damage(config.data))
    except StartError as error:
        return _refuse(str(error))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    watch = Watch(engine)
    metrics = Metrics(config.data)
    native, http = ports
    full = EngineError(TOO_MANY_QUERIES, f"{MAX_CONNECTIONS} connections are open already: close some.")
    _listen(
        native,
        lambda sock: NativeConnection(sock, engine, watch, config.password).serve(),
        exception_packet(full),
        metrics,
    )
    _listen(
        http,
        HttpService(engine, watch, config.password, metrics).serve,
        f"HTTP/1.0 503 Service Unavailable\r\n\r\n{full.http_text}\n".encode(),
        metrics,
    )
    ready = {"ready": True, "native_port": native.getsockname()[1], "http_port": http.getsockname()[1]}
    print(json.dumps(ready), flush=True)  # noqa: T201 - the readiness line is this program's output
    stopping.wait()
    _stop(engine, ports)
    return 0


def _refuse(sentence: str) -> int:
    print(sentence, file=sys.stderr)  # noqa: T201 - the sentence is for the operator
    return EXIT_REFUSED


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        # Binding alone lets a second process bind as well; listening doesn't. Early clients wait.
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise StartError(f"Port {port} on {host} cannot be used: {error.strerror}.") from error
    return listener


def _listen(listener: socket.socket, handle: Serve, full: bytes, metrics: Metrics) -> None:
    serving = (listener, handle, full, metrics)
    threading.Thread(target=_accept, args=serving, name="accept", daemon=True).start()


def _accept(listener: socket.socket, handle: Serve, full: bytes, metrics: Metrics) -> None:
    """Serve each connection in a thread of its own; those beyond the limit get the answer `full`."""
    places = threading.BoundedSemaphore(MAX_CONNECTIONS)
    while True:
        try:
            sock, _ = listener.accept()
        except OSError:
            return
        if places.acquire(blocking=False):
            threading.Thread(
                target=_one, args=(sock, places, handle, metrics), name="client", daemon=True
            ).start()
        else:
            with sock, contextlib.suppress(OSError):
                sock.sendall(full)


def _one(sock: socket.socket, places: threading.BoundedSemaphore, handle: Serve, metrics: Metrics) -> None:
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with sock, metrics.connections.track_inprogress():
            handle(sock)
    except Exception as error:  # noqa: BLE001 - one connection's bug must not look like the server's end
        print(f"A connection was closed by an internal error: {error!r}.", file=sys.stderr)  # noqa: T201 - for operators
    finally:
        places.release()


def _stop(engine: Engine, listeners: list[socket.socket]) -> None:
    """Stop accepting, stop what runs, close the directory. What was acknowledged is written already."""
    for listener in listeners:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
    closing = threading.Thread(target=_close, args=(engine,), daemon=True)
    closing.start()
    closing.join(SHUTDOWN_GRACE_S)
    sys.stdout.flush()
    # The engine's threads outlive the interpreter's shutdown and have been seen to crash in it.
    os._exit(0)


def _close(engine: Engine) -> None:
    engine.kill_all()
    engine.close()
