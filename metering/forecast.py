"""The forecast of an app: its use, the end of its calls, calls that will lapse, and the pack to buy next.

It is computed from the calls of complete Shanghai days, zeros included, and the packs held now, in integers.
The run-out alerts of the ledger use a simpler rule (`metering.use`), which replays must repeat.

Its accuracy is measured by `python -m bench.forecast`; docs/explanation/forecast.md has the figures.
"""

from collections.abc import Collection, Mapping, Sequence
from math import isqrt
from typing import Final, NamedTuple

from msgspec import Struct

from metering.catalogue import Offer
from metering.times import DAY_MS, SHANGHAI_OFFSET_MS, shanghai_day

WEEK: Final = 7
EPOCH_WEEKDAY: Final = 3
"""1970-01-01 was a Thursday; Monday is 0."""

HISTORY_WEEKS: Final = 8
"""Limit of complete weeks that count."""

FADING: Final = (3, 5)
"""The weight of a week relative to the one after it, as a fraction."""

STEADY_DAYS: Final = WEEK * sum(FADING) // (FADING[1] - FADING[0])
"""Days of equal weight whose mean has the same variance as that of the fading weeks."""

SHAPE_WEEKS_MIN: Final = 2
SHAPE_PRIOR_CALLS: Final = 60
"""Calls added to each weekday, so that few calls do not make a random shape."""

SPIKE_TIMES: Final = 3
SPIKE_CALLS_MIN: Final = 20
"""Limit of a day: three times the median day, or 20 calls. Spikes of bots do not recur."""

Z_PERMILLE: Final = 1_282
"""Thousandths of a standard deviation: a tenth of a normal distribution lies beyond on either side."""

SWING_PERMILLE_MAX: Final = 950
HORIZON_DAYS: Final = 1_100
"""Horizon of the forecast: three years, longer than any pack of the platform."""

MICRO: Final = 1_000_000
"""Millionths of a call, the unit of the projection, so that fractions of calls are not lost."""


class Pace(Struct, frozen=True):
    """The use of one capability of an app.

    Attributes:
        micro_calls_a_day: mean use of a day, in millionths of a call.
        shape_permille: use of each weekday from Monday on, in thousandths of the mean; 7,000 together.
        days: number of complete days that it was computed from.
        deviation_micro_calls: standard deviation of a day, in millionths of a call.
    """

    micro_calls_a_day: int
    shape_permille: tuple[int, ...]
    days: int
    deviation_micro_calls: int

    def of_day(self, day: int) -> int:
        """Expected use of a Shanghai day, in millionths of a call."""
        return self.micro_calls_a_day * self.shape_permille[(day + EPOCH_WEEKDAY) % WEEK] // 1_000

    def swing_permille(self, days: int) -> int:
        """The half-width of the 80 % interval of the use of so many days, in thousandths of the use.

        It combines the variance of these days with that of the mean.
        """
        if not self.micro_calls_a_day or not self.days:
            return SWING_PERMILLE_MAX
        ahead = max(1, days)
        relative = Z_PERMILLE * self.deviation_micro_calls // self.micro_calls_a_day
        variance = relative * relative // ahead + relative * relative // min(self.days, STEADY_DAYS)
        return min(SWING_PERMILLE_MAX, isqrt(variance))

    def scaled(self, permille: int) -> "Pace":
        """The pace with another level and the same shape."""
        return Pace(
            self.micro_calls_a_day * permille // 1_000,
            self.shape_permille,
            self.days,
            self.deviation_micro_calls,
        )


class OpenPack(NamedTuple):
    """A pack and its remaining calls; sorts in consumption order: expiry, then start, then id (rule 5)."""

    expires_at_ms: int
    starts_at_ms: int
    pack_id: str
    remaining: int


class PackForecast(Struct, frozen=True):
    """The forecast of a pack: calls that will be used, and calls that will lapse."""

    pack_id: str
    expires_at_ms: int
    remaining: int
    used: int
    lapsing: int


class Option(Struct, frozen=True):
    """A pack on sale, if bought when the calls run out: calls used and the cost of a used call.

    Attributes:
        offer: the pack.
        used: calls used within its validity, at the lower end of the interval.
        lasts_days: complete days until it is used up or expires, at the expected pace.
        micro_yuan_per_used_call: its price over `used`, rounded up; None if no call would be used.
    """

    offer: Offer
    used: int
    lasts_days: int
    micro_yuan_per_used_call: int | None


class Forecast(Struct, frozen=True):
    """The forecast of one capability of an app.

    Attributes:
        pace: its use.
        run_out_ms: the first moment without trial quota or pack for a call; None beyond the horizon.
        earliest_ms, latest_ms: the same at the upper and the lower end of the 80 % interval of use.
        packs: of each pack held, in consumption order.
        options: packs on sale, the one to buy next first.
    """

    pace: Pace
    run_out_ms: int | None
    earliest_ms: int | None
    latest_ms: int | None
    packs: tuple[PackForecast, ...]
    options: tuple[Option, ...]


def pace_of(daily: Sequence[int], last_day: int) -> Pace:
    """The pace of one capability.

    `daily` are its calls on consecutive Shanghai days, zeros included, until `last_day`, which is complete.
    """
    weeks = min(HISTORY_WEEKS, len(daily) // WEEK)
    recent = list(daily[-weeks * WEEK :] if weeks else daily)
    if not any(recent):
        return Pace(0, (1_000,) * WEEK, len(recent), 0)
    level = _level(_without_spikes(recent), weeks)
    shape = _shape(_without_spikes(recent), last_day, weeks)
    flat = Pace(level, shape, len(recent), 0)
    first_day = last_day - len(recent) + 1
    squares = sum((calls * MICRO - flat.of_day(first_day + n)) ** 2 for n, calls in enumerate(recent))
    # The variance of a day is at least that of a Poisson distribution.
    variance = max(squares // max(1, len(recent) - 1), level * MICRO)
    return Pace(level, shape, len(recent), isqrt(variance))


def forecast(
    paces: Mapping[str, Pace],
    trial: int,
    held: Mapping[str, Sequence[OpenPack]],
    now_ms: int,
    catalogue: Sequence[Offer] = (),
) -> dict[str, Forecast]:
    """The forecasts of the capabilities that share a trial quota, of which `trial` calls are left.

    `held` are the packs that hold calls, pending ones included; `catalogue` are those on sale. With the
    `trial_scope` `capability`, forecast each capability alone.
    """
    expected = project(paces, trial, held, now_ms)
    swings = {
        name: pace.swing_permille(days_between(now_ms, expected[name].run_out_ms))
        for name, pace in paces.items()
    }
    more = {name: pace.scaled(1_000 + swings[name]) for name, pace in paces.items()}
    less = {name: pace.scaled(1_000 - swings[name]) for name, pace in paces.items()}
    early = project(more, trial, held, now_ms)
    late = project(less, trial, held, now_ms)
    return {
        name: Forecast(
            pace,
            expected[name].run_out_ms,
            early[name].run_out_ms,
            late[name].run_out_ms,
            expected[name].packs,
            _options(name, pace, expected[name].run_out_ms or now_ms, catalogue),
        )
        for name, pace in paces.items()
    }


def _without_spikes(daily: Sequence[int]) -> list[int]:
    median = sorted(daily)[len(daily) // 2]
    most = max(SPIKE_CALLS_MIN, SPIKE_TIMES * median)
    return [min(calls, most) for calls in daily]


def _level(daily: Sequence[int], weeks: int) -> int:
    """Mean use of a day in millionths of a call; whole weeks, so that no weekday counts more than another."""
    if not weeks:
        return sum(daily) * MICRO // len(daily)
    keep, of = FADING
    calls = weight = 0
    for age in range(weeks):
        own = keep**age * of ** (weeks - age)
        end = len(daily) - age * WEEK
        calls += own * sum(daily[end - WEEK : end])
        weight += own
    return calls * MICRO // (weight * WEEK)


def _shape(daily: Sequence[int], last_day: int, weeks: int) -> tuple[int, ...]:
    if weeks < SHAPE_WEEKS_MIN:
        return (1_000,) * WEEK
    sums = [SHAPE_PRIOR_CALLS] * WEEK
    for ago, calls in enumerate(reversed(daily)):
        sums[(last_day - ago + EPOCH_WEEKDAY) % WEEK] += calls
    total = sum(sums)
    shape = [WEEK * 1_000 * of // total for of in sums]
    shape[-1] += WEEK * 1_000 - sum(shape)
    return tuple(shape)


class Projection(NamedTuple):
    """The result of playing time forward for one capability: its run-out, and what becomes of each pack."""

    run_out_ms: int | None
    packs: tuple[PackForecast, ...]

    @property
    def lapsing(self) -> int:
        """Calls that will lapse, of all packs."""
        return sum(pack.lapsing for pack in self.packs)


class _Projector:
    """The calls left of one capability while time is played forward, in millionths of a call."""

    def __init__(self, pace: Pace, held: Sequence[OpenPack]) -> None:
        self.pace = pace
        self.weekly = sum(pace.of_day(day) for day in range(WEEK))
        self.packs = sorted(held)
        self.left = {pack.pack_id: pack.remaining * MICRO for pack in self.packs}
        self.run_out_ms: int | None = None

    def demand(self, start_ms: int, end_ms: int) -> int:
        """Expected use of an interval within one day."""
        return self.pace.of_day(shanghai_day(start_ms)) * (end_ms - start_ms) // DAY_MS

    def take(self, start_ms: int, end_ms: int) -> None:
        """Use the active packs for an interval in which none starts or expires."""
        wanted = self.demand(start_ms, end_ms)
        missing = self.take_covered(start_ms, wanted)
        if missing and self.run_out_ms is None:
            self.run_out_ms = start_ms + (end_ms - start_ms) * (wanted - missing) // wanted

    def take_covered(self, start_ms: int, wanted: int) -> int:
        """Take use from the packs that are active then, as far as they cover it; what they do not cover."""
        missing = wanted
        for pack in self.packs:
            if pack.starts_at_ms <= start_ms < pack.expires_at_ms:
                taken = min(missing, self.left[pack.pack_id])
                self.left[pack.pack_id] -= taken
                missing -= taken
        return missing

    def active(self, time_ms: int) -> int:
        """The calls of the packs that are active then."""
        return sum(
            self.left[pack.pack_id]
            for pack in self.packs
            if pack.starts_at_ms <= time_ms < pack.expires_at_ms
        )

    def is_final(self, time_ms: int) -> bool:
        """True if the result cannot change any more after this time."""
        if not self.pace.micro_calls_a_day:
            return True
        spent = all(self.left[pack.pack_id] == 0 or pack.expires_at_ms <= time_ms for pack in self.packs)
        return spent and self.run_out_ms is not None

    def projection(self) -> Projection:
        """The result. Fractions of a call are left by rounding and count as used."""
        lapsing = {pack.pack_id: self.left[pack.pack_id] // MICRO for pack in self.packs}
        return Projection(
            self.run_out_ms,
            tuple(
                PackForecast(
                    pack.pack_id,
                    pack.expires_at_ms,
                    pack.remaining,
                    pack.remaining - lapsing[pack.pack_id],
                    lapsing[pack.pack_id],
                )
                for pack in self.packs
            ),
        )


def project(
    paces: Mapping[str, Pace], trial: int, held: Mapping[str, Sequence[OpenPack]], now_ms: int
) -> dict[str, Projection]:
    """Play time forward to the horizon: the trial quota first, then packs in consumption order."""
    projectors = {name: _Projector(pace, held.get(name, ())) for name, pace in paces.items()}
    left = trial * MICRO
    end_ms = now_ms + HORIZON_DAYS * DAY_MS
    cuts = sorted(
        {at for packs in held.values() for pack in packs for at in (pack.starts_at_ms, pack.expires_at_ms)}
    )
    waiting = iter([*(at for at in cuts if now_ms < at < end_ms), end_ms])
    cut = next(waiting)
    start_ms = now_ms
    while start_ms < end_ms and not all(each.is_final(start_ms) for each in projectors.values()):
        while cut <= start_ms:
            cut = next(waiting)
        left, weeks = _play_weeks(projectors.values(), left, start_ms, cut)
        if weeks:
            start_ms += weeks * WEEK * DAY_MS
            continue
        midnight_ms = (shanghai_day(start_ms) + 1) * DAY_MS - SHANGHAI_OFFSET_MS
        until_ms = min(midnight_ms, cut)
        left = _play(projectors.values(), left, start_ms, until_ms)
        start_ms = until_ms
    return {name: each.projection() for name, each in projectors.items()}


def _play(projectors: Collection[_Projector], left: int, start_ms: int, end_ms: int) -> int:
    """Play an interval within one day, in which no pack starts or expires; what is left of the trial."""
    wanted = sum(each.demand(start_ms, end_ms) for each in projectors)
    free_ms = end_ms if wanted <= left else start_ms + (end_ms - start_ms) * left // wanted
    if free_ms < end_ms:
        for each in projectors:
            each.take(free_ms, end_ms)
    return max(0, left - wanted)


def _play_weeks(projectors: Collection[_Projector], left: int, start_ms: int, end_ms: int) -> tuple[int, int]:
    """Play as many whole weeks at once as take from the same place: what is left of the trial, the weeks.

    From a midnight on, and only while each call is covered or was not covered before either: the moment at
    which calls run out is found day by day. Days of whole weeks have the same sum from any weekday on.
    """
    if (start_ms + SHANGHAI_OFFSET_MS) % DAY_MS:
        return left, 0
    weeks = (end_ms - start_ms) // (WEEK * DAY_MS)
    wanted = sum(each.weekly for each in projectors)
    if left:
        weeks = min(weeks, left // wanted) if wanted else weeks
        return left - weeks * wanted, weeks
    for each in projectors:
        if each.run_out_ms is None and each.weekly:
            weeks = min(weeks, each.active(start_ms) // each.weekly)
    for each in projectors:
        each.take_covered(start_ms, weeks * each.weekly)
    return left, weeks


def days_between(now_ms: int, run_out_ms: int | None) -> int:
    """Complete days until the run-out; those of the horizon if it is beyond."""
    return HORIZON_DAYS if run_out_ms is None else (run_out_ms - now_ms) // DAY_MS


def _options(capability: str, pace: Pace, start_ms: int, catalogue: Sequence[Offer]) -> tuple[Option, ...]:
    """Offers by the cost of a used call; of equal ones the largest first, which lasts longest."""
    options = [_option(offer, pace, start_ms) for offer in catalogue if offer.capability == capability]
    return tuple(sorted(options, key=_preference))


def _preference(option: Option) -> tuple[bool, int, int]:
    cost = option.micro_yuan_per_used_call
    return cost is None, cost or 0, -option.used


def _option(offer: Offer, pace: Pace, start_ms: int) -> Option:
    first = shanghai_day(start_ms)
    ahead = [pace.of_day(first + n) for n in range(offer.validity_days)]
    careful = 1_000 - pace.swing_permille(offer.validity_days)
    used = min(offer.calls, sum(ahead) * careful // 1_000 // MICRO)
    lasts_days = 0
    left = offer.calls * MICRO
    for day in ahead:
        left -= day
        if left < 0:
            break
        lasts_days += 1
    return Option(offer, used, lasts_days, -(-offer.price_micro_yuan // used) if used else None)
