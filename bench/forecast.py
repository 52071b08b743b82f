"""Back-test of the forecast on simulated years: its error beside that of the naive mean of seven days.

Run: `python -m bench.forecast` (minutes; with `--seeds 4 --taps 3000` less than one). Every year is metered
by the rules; the forecast sees the calls of the days before an origin only, and is held to those that came
after. Origins are 28 days in and then every fifth day.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from metering.forecast import MICRO, OpenPack, Pace, forecast, pace_of
from metering.partition import meter
from metering.partition_state import PartitionState
from metering.records import Record
from metering.rules import Rules
from metering.times import DAY_MS, SHANGHAI_OFFSET_MS, shanghai_day
from producers.simulate import TrafficPlan, simulate

START_MS: Final = 1_704_038_400_000
"""2024-01-01T00:00:00 in Shanghai."""

MONTH_DAYS: Final = 30
MONTHS: Final = 12
WARM_UP_DAYS: Final = 28
STEP_DAYS: Final = 5
HORIZONS_DAYS: Final = (3, 7, 14, 28)
NAIVE_DAYS: Final = 7
CALLS_A_DAY_MIN: Final = 3
"""Series below it on average are left out: there, chance is all there is."""

USED: Final = frozenset({"charge", "trial_charge", "uncovered"})
BATCH: Final = 5_000

Series = tuple[int, list[int]]
"""The Shanghai day that the first figure is of, and the calls of each day."""

Forecaster = Callable[[Sequence[int], int], Pace]


@dataclass(frozen=True, slots=True)
class Year:
    """A simulated year: the taps of its first month, and by how much each month has more than the last."""

    name: str
    seed: int
    taps_a_month: int = 12_000
    growth_percent: int = 0
    months: int = MONTHS
    apps: int = 6


def naive(daily: Sequence[int], last_day: int) -> Pace:
    """The mean of the last seven days, for every day to come: what the alerts of the ledger go by."""
    del last_day
    recent = daily[-NAIVE_DAYS:]
    return Pace(sum(recent) * MICRO // len(recent), (1_000,) * 7, len(recent), 0)


def series_of(year: Year) -> dict[tuple[str, str], Series]:
    """The calls of each Shanghai day, per app and capability, of the series that are large enough."""
    used: dict[tuple[str, str], Counter[int]] = {}
    state = PartitionState(0)
    for batch in _batches(_records(year)):
        metered = meter(state, batch, Rules())
        state = metered.state
        for entry in metered.entries:
            if entry.kind in USED:
                days = used.setdefault((entry.appid, entry.capability), Counter())
                days[shanghai_day(entry.time_ms)] += entry.calls
    first, count = shanghai_day(START_MS), year.months * MONTH_DAYS
    found = {key: (first, [days[first + n] for n in range(count)]) for key, days in sorted(used.items())}
    return {key: one for key, one in found.items() if sum(one[1]) >= CALLS_A_DAY_MIN * count}


def _records(year: Year) -> Iterator[Record]:
    """Each month is a plan of its own with the same seed, which makes the same apps, and more taps."""
    offset = 0
    taps = year.taps_a_month
    for month in range(year.months):
        plan = TrafficPlan(
            start_ms=START_MS + month * MONTH_DAYS * DAY_MS, duration_ms=MONTH_DAYS * DAY_MS, taps=taps,
            seed=year.seed, apps=year.apps, skew=0.8, exempt_share=0,
        )  # fmt: skip
        for arrival in simulate(plan):
            event = json.loads(arrival.value)
            # The same seed gives the same ids again every month, and they would be duplicates.
            event["id"] = f"{month}-{event['id']}"
            yield Record(offset, arrival.arrives_ms, event["subject"].encode(), json.dumps(event).encode())
            offset += 1
        taps = taps * (100 + year.growth_percent) // 100


def _batches(records: Iterator[Record]) -> Iterator[list[Record]]:
    held: list[Record] = []
    for record in records:
        held.append(record)
        if len(held) == BATCH:
            yield held
            held = []
    yield held


class ForecastError(NamedTuple):
    """The error of the forecasts of one horizon.

    Attributes:
        calls_percent: sum of all errors in calls, either way, over the sum of all calls.
        run_out_hours: mean error of the run-out time, either way, of a balance that was used until then.
        inside_percent: how often the run-out lay within the interval.
        cases: how many forecasts.
    """

    calls_percent: float
    run_out_hours: float
    inside_percent: float
    cases: int


def back_test(
    series: Mapping[tuple[str, str], Series], forecaster: Forecaster, horizon_days: int
) -> ForecastError:
    """Hold a forecaster to what came after, over all series and origins."""
    off = calls = hours = inside = cases = 0
    for first, daily in series.values():
        for at in range(WARM_UP_DAYS, len(daily) - horizon_days - WARM_UP_DAYS, STEP_DAYS):
            true = sum(daily[at : at + horizon_days])
            if not true:
                continue
            pace = forecaster(daily[:at], first + at - 1)
            expected = sum(pace.of_day(first + at + n) for n in range(horizon_days)) // MICRO
            off += abs(expected - true)
            calls += true
            late_ms, is_inside = _run_out(pace, true, first + at, horizon_days)
            hours += abs(late_ms) // (DAY_MS // 24)
            inside += is_inside
            cases += 1
    return ForecastError(100 * off / calls, hours / cases, 100 * inside / cases, cases)


def _run_out(pace: Pace, balance: int, day: int, true_days: int) -> tuple[int, bool]:
    """By how much too late the run-out of a balance that lasted `true_days` is told; if it is inside."""
    now_ms = day * DAY_MS - SHANGHAI_OFFSET_MS
    true_ms = now_ms + true_days * DAY_MS
    never_ms = now_ms + 400 * DAY_MS
    told = forecast({"": pace}, 0, {"": [OpenPack(never_ms, 0, "pack", balance)]}, now_ms)[""]
    inside = (told.earliest_ms or never_ms) <= true_ms <= (told.latest_ms or never_ms)
    return (told.run_out_ms or never_ms) - true_ms, inside


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one JSON line per condition and horizon."""
    parser = argparse.ArgumentParser(prog="python -m bench.forecast", description=__doc__)
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[4, 5, 6], help="One year of each condition per seed."
    )
    parser.add_argument(
        "--taps", type=int, default=12_000, help="Taps in the first month of all apps together."
    )
    given = parser.parse_args(arguments)
    for name, growth in (("steady", 0), ("growing", 8), ("shrinking", -8)):
        series = {
            (f"{seed}", *key): one
            for seed in given.seeds
            for key, one in series_of(Year(name, seed, given.taps, growth)).items()
        }
        for horizon in HORIZONS_DAYS:
            for who, forecaster in (("naive", naive), ("forecast", pace_of)):
                error = back_test(series, forecaster, horizon)  # type: ignore[arg-type]  # keys are only names
                told = {"year": name, "days": horizon, "by": who, "series": len(series), **error._asdict()}
                sys.stdout.write(f"{json.dumps(told)}\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
