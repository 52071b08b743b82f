"""`phonemeter up`: the one-machine stack in the foreground."""

import os
import time
from datetime import datetime
from typing import Annotated, Final

import typer

from metering.rules import Clock
from phonemeter.cli.foreground import stopped_by_signals
from phonemeter.settings import load
from phonemeter.stack.simulated_wechat import with_simulated_wechat
from phonemeter.stack.stack import Stack
from phonemeter.tables import print_table
from phonemeter.terminal import Table, Terminal, output, print_json

CHECK_INTERVAL_S: Final = 0.5


def up(
    *,
    clock: Annotated[
        Clock | None,
        typer.Option(
            help="Source of time: the wall clock, or the events, for a stack of past events. "
            "Default: the setting."
        ),
    ] = None,
    with_wechat_sim: Annotated[
        bool,
        typer.Option(
            "--with-wechat-sim",
            help="Also run a stand-in for WeChat's servers with two apps, and read them.",
        ),
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print only the endpoints, as one JSON line, when everything is ready."),
    ] = False,
) -> None:
    """Run Kafka, ClickHouse, worker, sink, settler, gateway, console and, if set up, notifier and wechat.

    It runs until Ctrl-C, listens on loopback and writes under one directory (setting data_dir). A service
    that ends is restarted; one that keeps failing stops the whole stack with the reason. The first run
    downloads Kafka.
    """
    settings = load() if clock is None else load(clock=clock)
    stack = Stack(with_simulated_wechat(settings) if with_wechat_sim else settings)
    talk = Terminal(stderr=True, quiet=as_json)
    with stopped_by_signals(stack, talk):
        began = time.monotonic()
        with talk.status("Preparing Kafka (the first time it is downloaded) ..."):
            stack.start()
        _wait_ready(stack, talk)
        ready_s = time.monotonic() - began
        if as_json:
            line = {"ready": True, "pid": os.getpid(), "ready_s": round(ready_s, 1), **stack.describe()}
            print_json(line)
        else:
            print_table(output(), _table(stack))
            talk.print(f"Ready after {ready_s:.1f} s. Ctrl-C stops everything.")
        while True:
            _print_notices(stack, talk)
            stack.check()
            time.sleep(CHECK_INTERVAL_S)


def _wait_ready(stack: Stack, talk: Terminal) -> None:
    deadline = time.monotonic() + stack.settings.ready_timeout_s
    with talk.status("Starting ...") as status:
        while not stack.ready_within(CHECK_INTERVAL_S):
            _print_notices(stack, talk)
            if time.monotonic() > deadline:
                raise stack.not_ready(stack.settings.ready_timeout_s)
            states = (f"{name} {one['state']}" for name, one in stack.describe()["services"].items())
            status.update(f"Starting: {', '.join(states)} ...")


def _print_notices(stack: Stack, talk: Terminal) -> None:
    """Print new notices with their time: some come long after the start."""
    while stack.notices:
        now = datetime.now().astimezone().strftime("%Y-%m-%dT%H:%M:%S%z")
        talk.print(f"{now} {stack.notices.pop(0)}", soft_wrap=not talk.is_terminal)


def _table(stack: Stack) -> Table:
    endpoints = stack.endpoints.without_password()
    table = Table("what", "where", title="phonemeter is up", title_justify="left")
    table.add_row("Kafka", endpoints.kafka)
    table.add_row("ClickHouse, native", endpoints.clickhouse)
    table.add_row("ClickHouse, HTTP", endpoints.clickhouse_http)
    table.add_row("worker: web and metrics", endpoints.worker)
    table.add_row("sink: metrics", endpoints.sink_metrics)
    table.add_row("settler: metrics", endpoints.settler_metrics)
    table.add_row("gateway: events over HTTP", endpoints.gateway)
    table.add_row("gateway: metrics", endpoints.gateway_metrics)
    table.add_row("console: pages for owners", endpoints.console)
    table.add_row("console: metrics", endpoints.console_metrics)
    if endpoints.notifier_metrics is not None:
        table.add_row("notifier: metrics", endpoints.notifier_metrics)
    if endpoints.wechat_metrics is not None:
        table.add_row("wechat: metrics", endpoints.wechat_metrics)
    if endpoints.wechat_sim is not None:
        table.add_row("stand-in for WeChat", endpoints.wechat_sim)
    table.add_row("data and logs", str(stack.directory.path))
    return table
