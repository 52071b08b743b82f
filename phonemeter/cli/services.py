"""`phonemeter worker`, `sink`, `notifier` and `engine`: one long-running service each, until SIGTERM."""

import logging
import os
import sys
from importlib import import_module
from typing import Final

import typer

from phonemeter.errors import UserError
from phonemeter.settings import CONFIG_VARIABLE, Settings, load
from phonemeter.stack.directory import StackDirectory
from phonemeter.stack.ports import listening
from sinks.notifier.settings import NotifierSettings
from sinks.settings import SinkSettings

LOG_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def worker() -> None:
    """Run the stream worker: it takes each event from the pack that WeChat would take it from.

    The same as `faust -A streams.app worker`, told everything by phonemeter's settings.
    """
    settings = load()
    _check_port(settings.listen_host, settings.worker_port)
    _export(settings)
    faust = import_module("faust.cli.faust")
    faust.cli(["--app", "streams.app:app", "--loglevel", "info", "worker"], prog_name="phonemeter worker")


def sink() -> None:
    """Run the sink: it moves the ledger from Kafka into ClickHouse, every line exactly once."""
    settings = load()
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, stream=sys.stderr)
    logging.getLogger("kafka").setLevel(logging.ERROR)
    service = import_module("sinks.service")
    views = import_module("dashboards.views")
    service.run(
        SinkSettings(**{name: getattr(settings, name) for name in SinkSettings.model_fields}),
        views=views.statements(),
    )


def notifier() -> None:
    """Run the notifier: it takes each alert to the routes that want it, once per route.

    Who gets what is in the file that alert_routes names; without one alerts are read and not delivered.
    """
    settings = load()
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, stream=sys.stderr)
    logging.getLogger("kafka").setLevel(logging.ERROR)
    service = import_module("sinks.notifier.service")
    service.run(NotifierSettings(**{name: getattr(settings, name) for name in NotifierSettings.model_fields}))


def engine() -> None:
    """Run the embedded ClickHouse on loopback: native protocol and HTTP, one directory.

    It is the real engine in one process, for one machine; who has a ClickHouse server does not need it.
    """
    settings = load()
    config = import_module("phonemeter.engine.config")
    server = import_module("phonemeter.engine.server")
    data = StackDirectory(settings.data_dir).of("engine") / "data"
    raise typer.Exit(
        server.serve(
            config.EngineConfig(
                data,
                "127.0.0.1",
                settings.engine_native_port,
                settings.engine_http_port,
                settings.engine_password,
            )
        )
    )


def _check_port(host: str, port: int) -> None:
    """Say in a sentence that the worker's port is taken; Faust says it in a stack trace."""
    try:
        with listening(host, port):
            pass
    except OSError as error:
        raise UserError(
            f"Port {port} for the worker's health and metrics cannot be opened on {host} ({error.strerror}): "
            "free it, or set PHONEMETER_WORKER_PORT (worker_port in phonemeter.toml) to a free port."
        ) from None


def _export(settings: Settings) -> None:
    """Let the worker, which builds its own settings when it is imported, find what this process was told."""
    os.environ.update(settings.to_environ())
    os.environ.pop(CONFIG_VARIABLE, None)
