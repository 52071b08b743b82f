"""`phonemeter simulate`: seeded traffic of many mini-programs into Kafka, a file, or both."""

import json
import math
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO, Final, NamedTuple

import typer
from rich.console import Console

from metering.times import CLOCK_SKEW_MS, DAY_MS, parse_time
from phonemeter.cli.emit import INCOMPLETE, Gauge, Interruption, Sending, writable
from phonemeter.errors import UserError
from phonemeter.settings import load
from producers.clock import wall_clock_ms
from producers.simulate import Arrival, Plan, PlanError
from producers.simulate import simulate as simulated

DAYS_DEFAULT: Final = 7.0
EVENTS_DEFAULT: Final = 10_000
REALTIME_RATE_DEFAULT: Final = 10.0
REFUSED_SHOWN_MAX: Final = 20
NAP_S_MAX: Final = 0.5
UNITS_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": DAY_MS}

TRAFFIC: Final = "How much, and when"
MIX: Final = "What it is made of, as shares from 0 to 1"
TARGET: Final = "Where to"

OPTIONS: Final = {
    "start_ms": "--start",
    "duration_ms": "--days",
    "taps": "--events",
    "rate_per_s": "--rate",
    "seed": "--seed",
    "apps": "--apps",
    "skew": "--skew",
    "denied_share": "--denied",
    "failed_share": "--failed",
    "realtime_share": "--realtime-share",
    "duplicate_share": "--duplicates",
    "late_share": "--late",
    "bot_share": "--bots",
    "exempt_share": "--exempt",
    "careless_share": "--careless",
    "oversize_share": "--oversized",
    "refund_share": "--refunds",
    "purchases": "--purchases",
    "flat": "--flat",
}
"""The fields of a `Plan` by the options that give them."""


def simulate(
    *,
    events: Annotated[
        int | None,
        typer.Option(
            rich_help_panel=TRAFFIC,
            help="Taps of ordinary users; bots, duplicates and purchases come on top. 10000 without --rate.",
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(rich_help_panel=TRAFFIC, help="Such taps per second instead, as the mean of a week."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            rich_help_panel=TRAFFIC,
            help="When it begins, like 2026-03-01T00:00:00+08:00. Without it, the period ends now.",
        ),
    ] = None,
    days: Annotated[
        float | None, typer.Option(rich_help_panel=TRAFFIC, help="How long it lasts; 7 by default.")
    ] = None,
    realtime: Annotated[
        bool,
        typer.Option(
            "--realtime",
            rich_help_panel=TRAFFIC,
            help="Begin now and keep to the clock, until Ctrl-C, --events or --for; by default 10 taps/s.",
        ),
    ] = False,
    for_: Annotated[
        str | None,
        typer.Option(
            "--for", metavar="TIME", rich_help_panel=TRAFFIC, help="How long in real time: 90s, 2h."
        ),
    ] = None,
    flat: Annotated[
        bool | None,
        typer.Option(
            "--flat/--curve",
            rich_help_panel=TRAFFIC,
            help="The same activity always (as by default in real time), or Shanghai's days and weeks.",
        ),
    ] = None,
    apps: Annotated[int, typer.Option(rich_help_panel=TRAFFIC, help="Number of mini-programs.")] = 20,
    skew: Annotated[
        float, typer.Option(rich_help_panel=TRAFFIC, help="Zipf exponent of their sizes; 0 makes them alike.")
    ] = 1.1,
    seed: Annotated[int, typer.Option(rich_help_panel=TRAFFIC, help="Another seed, other events.")] = 1,
    denied: Annotated[float, typer.Option(rich_help_panel=MIX, help="Taps that the user denies.")] = 0.08,
    failed: Annotated[float, typer.Option(rich_help_panel=MIX, help="Taps that fail.")] = 0.02,
    realtime_share: Annotated[
        float, typer.Option(rich_help_panel=MIX, help="Taps on the real-time component.")
    ] = 0.25,
    duplicates: Annotated[
        float, typer.Option(rich_help_panel=MIX, help="Taps that reach the log twice.")
    ] = 0.01,
    late: Annotated[
        float, typer.Option(rich_help_panel=MIX, help="Taps that reach it minutes to days late.")
    ] = 0.005,
    bots: Annotated[
        float, typer.Option(rich_help_panel=MIX, help="Taps of bots that drain an app, per ordinary tap.")
    ] = 0.02,
    exempt: Annotated[float, typer.Option(rich_help_panel=MIX, help="Apps that are exempt.")] = 0.05,
    careless: Annotated[
        float, typer.Option(rich_help_panel=MIX, help="Owners who buy only when nothing is left.")
    ] = 0.2,
    oversized: Annotated[
        float, typer.Option(rich_help_panel=MIX, help="Purchases far too large, which lapse in the end.")
    ] = 0.15,
    refunds: Annotated[
        float, typer.Option(rich_help_panel=MIX, help="Purchases made twice by mistake and given back.")
    ] = 0.05,
    purchases: Annotated[
        bool, typer.Option(rich_help_panel=MIX, help="Whether owners buy packs as theirs run out.")
    ] = True,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=TARGET,
            help="Write JSON Lines in log order here instead of publishing; - is stdout.",
        ),
    ] = None,
    tee: Annotated[
        bool, typer.Option("--tee", rich_help_panel=TARGET, help="With --out: publish as well.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", rich_help_panel=TARGET, help="Print the summary as one JSON object.")
    ] = False,
) -> None:
    """Simulate the traffic of many mini-programs: the same seed and options give the same events.

    Large and small apps, noons and nights, bots, duplicates, late events,
    owners who buy in time, too late or too much. It is published to Kafka, or
    written with --out to a file that `phonemeter rate` can rate and
    `phonemeter emit` can publish.
    """
    if tee and out is None:
        raise UserError("--tee publishes what --out writes; give --out FILE as well.")
    if realtime:
        _refuse_together("--realtime begins now", {"--start": start, "--days": days})
        period = _period_from_now(events, rate, for_)
    else:
        _refuse_together("without --realtime, --days says how long", {"--for": for_})
        period = _period_of_the_past(events, rate, start, days)
    try:
        plan = Plan(
            **period._asdict(),
            seed=seed,
            apps=apps,
            skew=skew,
            denied_share=denied,
            failed_share=failed,
            realtime_share=realtime_share,
            duplicate_share=duplicates,
            late_share=late,
            bot_share=bots,
            exempt_share=exempt,
            careless_share=careless,
            oversize_share=oversized,
            refund_share=refunds,
            purchases=purchases,
            flat=realtime if flat is None else flat,
        )
    except PlanError as error:
        told = _by_options(error, realtime=realtime, start=start)
        raise UserError(f"This can't be simulated: {told}.") from None
    publish = out is None or tee
    if publish and not realtime:
        _refuse_the_future(plan)
    arrivals = _paced(simulated(plan)) if realtime else simulated(plan)
    if out is not None and not publish:
        _write(arrivals, plan, out, as_json=as_json, timely=realtime)
    elif not _publish(arrivals, plan, out, as_json=as_json):
        raise typer.Exit(INCOMPLETE)


def _by_options(error: PlanError, *, realtime: bool, start: str | None) -> str:
    """What is wrong with a plan, said of the options that its fields were given by."""
    given = dict(OPTIONS)
    if realtime:
        given["duration_ms"] = "--for"
    elif start is None:
        # The period ends now, so that its length is what says when it begins.
        given["start_ms"] = given["duration_ms"]
    return f"{' and '.join(given[name] for name in error.fields)} {error.complaint}"


class _Period(NamedTuple):
    start_ms: int
    duration_ms: int | None
    taps: int | None
    rate_per_s: float | None


def _refuse_together(because: str, options: dict[str, object]) -> None:
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise UserError(f"Leave out {' and '.join(given)}: {because}.")


def _period_from_now(events: int | None, rate: float | None, for_: str | None) -> _Period:
    duration_ms = None if for_ is None else _span_ms(for_)
    return _Period(wall_clock_ms(), duration_ms, events, REALTIME_RATE_DEFAULT if rate is None else rate)


def _period_of_the_past(
    events: int | None, rate: float | None, start: str | None, days: float | None
) -> _Period:
    if days is not None and not math.isfinite(days):
        raise UserError(f"--days is {days}; it is a number of days, such as 30 or 0.5.")
    duration_ms = round((DAYS_DEFAULT if days is None else days) * DAY_MS)
    taps = EVENTS_DEFAULT if events is None and rate is None else events
    if start is None:
        return _Period(wall_clock_ms() - duration_ms, duration_ms, taps, rate)
    try:
        return _Period(parse_time(start), duration_ms, taps, rate)
    except ValueError as error:
        raise UserError(f"--start: {error}.") from None


def _span_ms(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if match is None:
        raise UserError(f"--for {text!r} is not a length of time; write it like 90s, 10m, 2h or 1d.")
    return round(float(match[1]) * UNITS_MS[match[2]])


def _refuse_the_future(plan: Plan) -> None:
    if plan.start_ms + (plan.duration_ms or 0) > wall_clock_ms() + CLOCK_SKEW_MS:
        raise UserError(
            "The period ends in the future, from where the stream takes no events; "
            "give an earlier --start or fewer --days, or only write a file with --out."
        )


def _paced(arrivals: Iterator[Arrival]) -> Iterator[Arrival]:
    for arrival in arrivals:
        while (early_ms := arrival.arrives_ms - wall_clock_ms()) > 0:
            time.sleep(min(NAP_S_MAX, early_ms / 1_000))
        yield arrival


def _publish(arrivals: Iterator[Arrival], plan: Plan, out: str | None, *, as_json: bool) -> bool:
    with ExitStack() as held:
        sending = held.enter_context(Sending(load(), REFUSED_SHOWN_MAX, None))
        copy = None if out is None else held.enter_context(_target(out))
        gauge = held.enter_context(_gauge(plan, sending.console))
        with Interruption() as interruption:
            for number, arrival in enumerate(interruption.each(arrivals), 1):
                if sending.emission.offer(number, arrival.value) and copy is not None:
                    copy.write(arrival.value + b"\n")
                gauge.show(arrival.arrives_ms - plan.start_ms)
                if sending.stopped_because:
                    break
        sending.finish(interrupted=interruption.asked)
    sending.tell(as_json=as_json, to_stderr=out == "-")
    return sending.complete


def _write(arrivals: Iterator[Arrival], plan: Plan, out: str, *, as_json: bool, timely: bool) -> None:
    written = 0
    with _target(out) as target, _gauge(plan, Console(stderr=True)) as gauge, Interruption() as interruption:
        for arrival in interruption.each(arrivals):
            target.write(arrival.value + b"\n")
            if timely:
                target.flush()
            written += 1
            gauge.show(arrival.arrives_ms - plan.start_ms)
    text = (
        json.dumps({"events": written, "file": out}) if as_json else f"{written:,} events written to {out}."
    )
    (sys.stderr if out == "-" else sys.stdout).write(f"{text}\n")


@contextmanager
def _target(out: str) -> Iterator[BinaryIO]:
    if out != "-":
        with writable(Path(out)) as file:
            yield file
        return
    try:
        yield sys.stdout.buffer
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read has seen enough; without this, the interpreter would complain once more at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _gauge(plan: Plan, console: Console) -> Gauge:
    return Gauge("simulating", plan.duration_ms, console)
