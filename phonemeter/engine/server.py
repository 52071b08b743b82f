"""The process: two listening ports in front of one engine, started and stopped as one."""

import contextlib
import faulthandler
import json
import os
import signal
import socket
import sys
import threading
from typing import Final, NoReturn

from phonemeter.engine.chdb_engine import Engine
from phonemeter.engine.client_watch import ClientWatch
from phonemeter.engine.config import MAX_CONNECTIONS, SHUTDOWN_GRACE_S, EngineConfig
from phonemeter.engine.confinement import confine
from phonemeter.engine.damage import DamageHandler
from phonemeter.engine.directory import StartError, make_folders
from phonemeter.engine.http_connection_limit import RESERVED_CONNECTIONS
from phonemeter.engine.http_service import HttpService
from phonemeter.engine.listener import Listener, bind
from phonemeter.engine.metrics import EngineMetrics
from phonemeter.engine.native_connection import NativeConnection
from phonemeter.engine.native_packets import exception_packet

EXIT_REFUSED: Final = 2


def serve(config: EngineConfig) -> int:
    """Serve `config.data` until SIGTERM, SIGINT or damage ends the process; returns only if it cannot start.

    Prints one JSON line with the ports once clients can connect. If it cannot start, it prints one sentence
    on stderr and returns the exit status.
    """
    faulthandler.enable()
    problem = config.problem()
    if problem is not None:
        return _refuse(problem)
    data = config.data.absolute()
    try:
        ports = [bind(config.host, port) for port in (config.native_port, config.http_port)]
        make_folders(data)
        confinement = confine(data)
    except StartError as error:
        return _refuse(str(error))
    try:
        engine = Engine(data, DamageHandler(data))
    except StartError as error:
        _exit(_refuse(str(error)))
    stopped = _catch_signals()
    watch = ClientWatch(engine)
    metrics = EngineMetrics(data, confined=confinement.missing is None)
    if confinement.missing is not None:
        print(confinement.missing, file=sys.stderr)  # noqa: T201 - the sentence is for the operator
    native, http = ports
    Listener(
        native,
        lambda sock: NativeConnection(sock, engine, watch, config.password).serve(),
        exception_packet,
        metrics,
    ).start()
    Listener(
        http,
        HttpService(engine, watch, config.password, metrics).serve,
        lambda error: f"HTTP/1.0 503 Service Unavailable\r\n\r\n{error.http_text}\n".encode(),
        metrics,
        limit=MAX_CONNECTIONS + RESERVED_CONNECTIONS,
    ).start()
    ready = {"ready": True, "native_port": native.getsockname()[1], "http_port": http.getsockname()[1]}
    print(json.dumps(ready), flush=True)  # noqa: T201 - the readiness line is this program's output
    os.read(stopped, 1)
    _stop(engine, ports)
    return 0


def _catch_signals() -> int:
    """Have SIGTERM and SIGINT write to a pipe; returns its end to read from.

    The kernel may deliver a signal to one of chDB's threads, which does not wake a main thread that waits for
    a lock.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    return reading


def _refuse(sentence: str) -> int:
    print(sentence, file=sys.stderr)  # noqa: T201 - the sentence is for the operator
    return EXIT_REFUSED


def _stop(engine: Engine, listeners: list[socket.socket]) -> None:
    """Stop accepting, kill queries, close the directory. Acknowledged INSERTs are written already."""
    for listener in listeners:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
    closing = threading.Thread(target=_close, args=(engine,), daemon=True)
    closing.start()
    closing.join(SHUTDOWN_GRACE_S)
    _exit(0)


def _exit(status: int) -> NoReturn:
    """End the process at once: chDB's threads have been seen to crash while the interpreter shuts down."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _close(engine: Engine) -> None:
    engine.kill_all()
    engine.close()
