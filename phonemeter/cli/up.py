"""`phonemeter up`: the one-machine stack in the foreground."""

import json
import os
import sys
import time
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from phonemeter.cli.foreground import stopped_by_signals
from phonemeter.settings import load
from phonemeter.stack.stack import Stack

CHECK_INTERVAL_S: Final = 0.5


def up(
    *,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print the endpoints as one JSON line when everything is ready; say no more."
        ),
    ] = False,
) -> None:
    """Run Kafka, ClickHouse, the worker, the sink and, with routes for alerts, the notifier until Ctrl-C.

    Everything listens on loopback and writes under one directory (setting data_dir). A service that dies is
    started again; one that cannot be kept alive ends the whole stack and says why. The first run downloads
    Kafka.
    """
    stack = Stack(load())
    talk = Console(stderr=True, quiet=as_json)
    with stopped_by_signals(stack, talk):
        began = time.monotonic()
        with talk.status("Preparing Kafka (the first time it is downloaded) ..."):
            stack.start()
        _wait_ready(stack, talk)
        ready_s = time.monotonic() - began
        if as_json:
            line = {"ready": True, "pid": os.getpid(), "ready_s": round(ready_s, 1), **stack.describe()}
            sys.stdout.write(f"{json.dumps(line)}\n")
            sys.stdout.flush()
        else:
            Console().print(_table(stack))
            talk.print(f"Ready after {ready_s:.1f} s. Ctrl-C stops everything.")
        while True:
            stack.check()
            time.sleep(CHECK_INTERVAL_S)


def _wait_ready(stack: Stack, talk: Console) -> None:
    deadline = time.monotonic() + stack.settings.ready_timeout_s
    with talk.status("Starting ...") as status:
        while not stack.ready_within(CHECK_INTERVAL_S):
            if time.monotonic() > deadline:
                stack.wait_ready(0)
            states = (f"{name} {one['state']}" for name, one in stack.describe()["services"].items())
            status.update(f"Starting: {', '.join(states)} ...")


def _table(stack: Stack) -> Table:
    endpoints = stack.endpoints
    table = Table("what", title="phonemeter is up", title_justify="left", highlight=False)
    # An address is there to be copied: rather on two lines than cut off.
    table.add_column("where", overflow="fold")
    table.add_row("Kafka", endpoints.kafka)
    table.add_row("ClickHouse, native", endpoints.clickhouse)
    table.add_row("ClickHouse, HTTP", endpoints.clickhouse_http)
    table.add_row("worker: web and metrics", endpoints.worker)
    table.add_row("sink: metrics", endpoints.sink_metrics)
    if endpoints.notifier_metrics is not None:
        table.add_row("notifier: metrics", endpoints.notifier_metrics)
    table.add_row("data and logs", str(stack.directory.path))
    return table
