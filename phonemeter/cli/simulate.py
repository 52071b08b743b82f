"""`phonemeter simulate`: seeded traffic of many mini-programs into Kafka, a file, or both."""

import math
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import typer

from metering.catalogue import DEFAULT
from metering.times import CLOCK_SKEW_MS, DAY_MS, parse_time
from phonemeter.cli.emit_run import EmitRun, writable
from phonemeter.cli.interruption import Interruption
from phonemeter.cli.option_groups import with_option_groups
from phonemeter.cli.progress_bar import ProgressBar
from phonemeter.cli.simulate_options import OPTIONS, MixOptions, TargetOptions, TrafficOptions
from phonemeter.errors import UserError
from phonemeter.event_log import rules_of_log
from phonemeter.settings import load
from phonemeter.terminal import Terminal, print_json, say
from producers.clock import wall_clock_ms
from producers.simulate import Arrival, PlanError, TrafficPlan
from producers.simulate import simulate as simulated

DAYS_DEFAULT: Final = 7.0
EVENTS_DEFAULT: Final = 10_000
INCOMPLETE: Final = 1
REALTIME_RATE_DEFAULT: Final = 10.0
REFUSED_SHOWN_MAX: Final = 20
NAP_S_MAX: Final = 0.5
SHORTEST_VALIDITY_DAYS: Final = min(offer.validity_days for offer in DEFAULT)
UNITS_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": DAY_MS}


@with_option_groups
def simulate(*, traffic: TrafficOptions, mix: MixOptions, target: TargetOptions) -> None:
    """Simulate the traffic of many mini-programs: the same seed and options give the same events.

    Large and small apps, noons and nights, bots, duplicates, late events,
    owners who buy in time, too late or too much. It is published to Kafka, or
    written with --out to a file that `phonemeter rate` can rate and
    `phonemeter emit` can publish.
    """
    if target.tee and target.out is None:
        raise UserError("--tee publishes what --out writes; give --out FILE as well.")
    plan = _plan(traffic, mix)
    publish = target.out is None or target.tee
    if publish and not traffic.realtime:
        _refuse_the_future(plan)
        _refuse_what_the_clock_has_passed(plan)
    arrivals = _pace(simulated(plan)) if traffic.realtime else simulated(plan)
    if target.out is not None and not publish:
        _write(arrivals, plan, target.out, as_json=target.as_json, timely=traffic.realtime)
    elif not _publish(arrivals, plan, target.out, as_json=target.as_json):
        raise typer.Exit(INCOMPLETE)


def _plan(traffic: TrafficOptions, mix: MixOptions) -> TrafficPlan:
    period = _period_from_now(traffic) if traffic.realtime else _period_of_the_past(traffic)
    try:
        return TrafficPlan(
            **period._asdict(),
            seed=traffic.seed,
            apps=traffic.apps,
            skew=traffic.skew,
            flat=traffic.realtime if traffic.flat is None else traffic.flat,
            **asdict(mix),
        )
    except PlanError as error:
        raise UserError(f"This can't be simulated: {_by_options(error, traffic)}.") from None


def _by_options(error: PlanError, traffic: TrafficOptions) -> str:
    """The complaint about a plan, with the options that set the fields concerned."""
    names = dict(OPTIONS)
    if traffic.realtime:
        names["duration_ms"] = "--for"
    elif traffic.start is None:
        # The period ends now, so its length decides when it begins.
        names["start_ms"] = names["duration_ms"]
    return f"{' and '.join(names[name] for name in error.fields)} {error.complaint}"


class _Period(NamedTuple):
    start_ms: int
    duration_ms: int | None
    taps: int | None
    rate_per_s: float | None


def _refuse_together(because: str, options: dict[str, object]) -> None:
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise UserError(f"Leave out {' and '.join(given)}: {because}.")


def _period_from_now(traffic: TrafficOptions) -> _Period:
    _refuse_together("--realtime begins now", {"--start": traffic.start, "--days": traffic.days})
    duration_ms = None if traffic.for_ is None else _span_ms(traffic.for_)
    rate = REALTIME_RATE_DEFAULT if traffic.rate is None else traffic.rate
    return _Period(wall_clock_ms(), duration_ms, traffic.events, rate)


def _period_of_the_past(traffic: TrafficOptions) -> _Period:
    _refuse_together("without --realtime, --days says how long", {"--for": traffic.for_})
    days = DAYS_DEFAULT if traffic.days is None else traffic.days
    if not math.isfinite(days):
        raise UserError(f"--days is {days}; it is a number of days, such as 30 or 0.5.")
    duration_ms = round(days * DAY_MS)
    taps = EVENTS_DEFAULT if traffic.events is None and traffic.rate is None else traffic.events
    if traffic.start is None:
        return _Period(wall_clock_ms() - duration_ms, duration_ms, taps, traffic.rate)
    try:
        return _Period(parse_time(traffic.start), duration_ms, taps, traffic.rate)
    except ValueError as error:
        raise UserError(f"--start: {error}.") from None


def _span_ms(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if match is None:
        raise UserError(f"--for {text!r} is not a length of time; write it like 90s, 10m, 2h or 1d.")
    return round(float(match[1]) * UNITS_MS[match[2]])


def _refuse_the_future(plan: TrafficPlan) -> None:
    if plan.start_ms + (plan.duration_ms or 0) > wall_clock_ms() + CLOCK_SKEW_MS:
        raise UserError(
            "The period ends in the future, from where the stream takes no events; "
            "give an earlier --start or fewer --days, or only write a file with --out."
        )


def _refuse_what_the_clock_has_passed(plan: TrafficPlan) -> None:
    """Refuse a past in which packs would lapse, by the clock, before their own events arrive."""
    past_ms = wall_clock_ms() - plan.start_ms
    if past_ms <= SHORTEST_VALIDITY_DAYS * DAY_MS:
        return
    settings = load()
    if (rules_of_log(settings.kafka_access, settings.rules()).clock or settings.clock) == "wall":
        raise UserError(
            f"The period begins {past_ms // DAY_MS} days ago, and the stack's time is the clock's: a pack of "
            f"{SHORTEST_VALIDITY_DAYS} days would lapse before its own events arrive. Run `phonemeter up "
            "--clock events` on a data_dir of its own, where time is that of the events, begin at most "
            f"{SHORTEST_VALIDITY_DAYS} days ago, or only write a file with --out, for `phonemeter rate`."
        )


def _pace(arrivals: Iterator[Arrival]) -> Iterator[Arrival]:
    for arrival in arrivals:
        while (early_ms := arrival.arrives_ms - wall_clock_ms()) > 0:
            time.sleep(min(NAP_S_MAX, early_ms / 1_000))
        yield arrival


def _publish(arrivals: Iterator[Arrival], plan: TrafficPlan, out: str | None, *, as_json: bool) -> bool:
    with ExitStack() as held:
        run = held.enter_context(EmitRun(load(), REFUSED_SHOWN_MAX, None))
        copy = None if out is None else held.enter_context(_target(out))
        progress_bar = held.enter_context(_progress_bar(plan, run.console))
        with Interruption() as interruption:
            for number, arrival in enumerate(interruption.each(arrivals), 1):
                if run.emission.offer(number, arrival.value) and copy is not None:
                    copy.write(arrival.value + b"\n")
                progress_bar.show(arrival.arrives_ms - plan.start_ms)
                if run.stopped_because:
                    break
        run.finish(interrupted=interruption.requested)
    run.print_summary(as_json=as_json, to_stderr=out == "-")
    return run.complete


def _write(arrivals: Iterator[Arrival], plan: TrafficPlan, out: str, *, as_json: bool, timely: bool) -> None:
    written = 0
    with (
        _target(out) as target,
        _progress_bar(plan, Terminal(stderr=True)) as progress_bar,
        Interruption() as interruption,
    ):
        for arrival in interruption.each(arrivals):
            target.write(arrival.value + b"\n")
            if timely:
                target.flush()
            written += 1
            progress_bar.show(arrival.arrives_ms - plan.start_ms)
    if as_json:
        print_json({"events": written, "file": out}, stderr=out == "-")
    else:
        say(f"{written:,} events written to {out}.", stderr=out == "-")


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
        # The reader has closed the pipe; without this, the interpreter would report it again at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _progress_bar(plan: TrafficPlan, console: Terminal) -> ProgressBar:
    return ProgressBar("simulating", plan.duration_ms, console)
