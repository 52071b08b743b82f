"""The options of `phonemeter simulate`, in the groups of its help."""

from dataclasses import dataclass
from typing import Annotated, Final

import typer

from phonemeter.cli.option_groups import option_names

TRAFFIC: Final = "How much, and when"
MIX: Final = "Composition, as shares from 0 to 1"
TARGET: Final = "Where to"


@dataclass(frozen=True)
class TrafficOptions:
    """The amount of traffic, its period, and the number of apps."""

    events: Annotated[
        int | None,
        typer.Option(
            rich_help_panel=TRAFFIC,
            help="Taps of ordinary users, without bots, duplicates and purchases; 10000 without --rate.",
        ),
    ] = None
    rate: Annotated[
        float | None,
        typer.Option(
            rich_help_panel=TRAFFIC, help="Taps of ordinary users per second instead, on average over a week."
        ),
    ] = None
    start: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            rich_help_panel=TRAFFIC,
            help="Start of the traffic, such as 2026-03-01T00:00:00+08:00; without it, the period ends now.",
        ),
    ] = None
    days: Annotated[
        float | None, typer.Option(rich_help_panel=TRAFFIC, help="Number of days; 7 by default.")
    ] = None
    realtime: Annotated[
        bool,
        typer.Option(
            "--realtime",
            rich_help_panel=TRAFFIC,
            help="Start now, in real time, until Ctrl-C, --events or --for; by default 10 taps/s.",
        ),
    ] = False
    for_: Annotated[
        str | None,
        typer.Option(
            "--for", metavar="TIME", rich_help_panel=TRAFFIC, help="Duration in real time, such as 90s, 2h."
        ),
    ] = None
    flat: Annotated[
        bool | None,
        typer.Option(
            "--flat/--curve",
            rich_help_panel=TRAFFIC,
            help="Constant rate (the default in real time), or the daily and weekly curve of Shanghai.",
        ),
    ] = None
    apps: Annotated[int, typer.Option(rich_help_panel=TRAFFIC, help="Number of mini-programs.")] = 20
    skew: Annotated[
        float, typer.Option(rich_help_panel=TRAFFIC, help="Zipf exponent of their sizes; 0 makes them equal.")
    ] = 1.1
    seed: Annotated[int, typer.Option(rich_help_panel=TRAFFIC, help="Seed of the random numbers.")] = 1


@dataclass(frozen=True)
class MixOptions:
    """The composition of the traffic: fields of a `TrafficPlan`, under the same names."""

    denied_share: Annotated[
        float, typer.Option("--denied", rich_help_panel=MIX, help="Taps that the user denies.")
    ] = 0.08
    failed_share: Annotated[float, typer.Option("--failed", rich_help_panel=MIX, help="Taps that fail.")] = (
        0.02
    )
    realtime_share: Annotated[
        float, typer.Option(rich_help_panel=MIX, help="Taps on the real-time component.")
    ] = 0.25
    duplicate_share: Annotated[
        float, typer.Option("--duplicates", rich_help_panel=MIX, help="Taps that reach the log twice.")
    ] = 0.01
    late_share: Annotated[
        float,
        typer.Option("--late", rich_help_panel=MIX, help="Taps that reach the log minutes to days late."),
    ] = 0.005
    bot_share: Annotated[
        float,
        typer.Option(
            "--bots",
            rich_help_panel=MIX,
            help="Taps of bots that use up the calls of an app, per ordinary tap.",
        ),
    ] = 0.02
    exempt_share: Annotated[
        float, typer.Option("--exempt", rich_help_panel=MIX, help="Apps that are exempt.")
    ] = 0.05
    careless_share: Annotated[
        float,
        typer.Option("--careless", rich_help_panel=MIX, help="Owners who buy only when nothing is left."),
    ] = 0.2
    oversize_share: Annotated[
        float,
        typer.Option(
            "--oversized", rich_help_panel=MIX, help="Purchases far too large, which lapse in the end."
        ),
    ] = 0.15
    refund_share: Annotated[
        float,
        typer.Option(
            "--refunds", rich_help_panel=MIX, help="Purchases made twice by mistake and given back."
        ),
    ] = 0.05
    purchases: Annotated[
        bool, typer.Option(rich_help_panel=MIX, help="Whether owners buy packs as theirs run out.")
    ] = True


@dataclass(frozen=True)
class TargetOptions:
    """The target of the traffic, and the form of the summary."""

    out: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=TARGET,
            help="Write JSON Lines in log order here instead of publishing; - is stdout.",
        ),
    ] = None
    tee: Annotated[
        bool, typer.Option("--tee", rich_help_panel=TARGET, help="With --out: publish as well.")
    ] = False
    as_json: Annotated[
        bool, typer.Option("--json", rich_help_panel=TARGET, help="Print the summary as one JSON object.")
    ] = False


OPTIONS: Final = {
    "start_ms": "--start",
    "duration_ms": "--days",
    "taps": "--events",
    "rate_per_s": "--rate",
    "seed": "--seed",
    "apps": "--apps",
    "skew": "--skew",
    "flat": "--flat",
    **option_names(MixOptions),
}
"""The fields of a `TrafficPlan`, and the options that set them."""
