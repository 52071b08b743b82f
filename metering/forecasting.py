"""What an app will use, until when its calls last, what will lapse, and which pack to buy next.

From the calls of complete Shanghai days, zeros included, and from what is held now. Pure and in integers: the
same figures give the same forecast. The alerts of the ledger have a rule of their own (`metering.alerting`),
which a replay must be able to repeat; this one may be improved.

How well it does, and on what, is measured by `python -m bench.forecast` and written down in docs/forecast.md.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import isqrt
from typing import Final, NamedTuple

from msgspec import Struct

from metering.catalogue import Offer
from metering.times import DAY_MS, SHANGHAI_OFFSET_MS, shanghai_day

WEEK: Final = 7
EPOCH_WEEKDAY: Final = 3
"""1970-01-01 was a Thursday; Monday is 0."""

HISTORY_WEEKS: Final = 8
"""Complete weeks that count at most. What is older says more about the past than about next month."""

FADING: Final = (3, 5)
"""A week counts three fifths of the one after it."""

STEADY_DAYS: Final = WEEK * sum(FADING) // (FADING[1] - FADING[0])
"""So many days of equal weight would give a mean as steady as that of the fading weeks."""

SHAPE_WEEKS_MIN: Final = 2
SHAPE_PRIOR_CALLS: Final = 60
"""Calls that are mixed into each weekday alike, so that chance does not make a shape of few calls."""

SPIKE_TIMES: Final = 3
SPIKE_CALLS_MIN: Final = 20
"""A day counts with three times the median day (or 20 calls) at most: a bot comes once, not every week."""

Z_PERMILLE: Final = 1_282
"""Thousandths of a standard deviation; a tenth of a normal distribution lies beyond, on either side."""

SWING_PERMILLE_MAX: Final = 950
HORIZON_DAYS: Final = 1_100
"""How far ahead it looks: three years, which no pack of the platform outlives."""

MICRO: Final = 1_000_000
"""Calls are counted in millionths here, so that shares of a call are not lost segment by segment."""


class Pace(Struct, frozen=True):
    """How much one capability of an app is used.

    Attributes:
        micro_calls_a_day: mean use of a day, in millionths of a call.
        shape_permille: use of each weekday from Monday on, in thousandths of the mean; 7,000 together.
        days: how many complete days it was taken from.
        deviation_micro_calls: standard deviation of one day around it, in millionths of a call.
    """

    micro_calls_a_day: int
    shape_permille: tuple[int, ...]
    days: int
    deviation_micro_calls: int

    def of_day(self, day: int) -> int:
        """Expected use of a Shanghai day, in millionths of a call."""
        return self.micro_calls_a_day * self.shape_permille[(day + EPOCH_WEEKDAY) % WEEK] // 1_000

    def swing_permille(self, days: int) -> int:
        """By how much the use of so many days may be off either way, in thousandths of it (80 % of the time).

        Chance on each of these days, and the same chance on the days that the mean was taken from.
        """
        if not self.micro_calls_a_day or not self.days:
            return SWING_PERMILLE_MAX
        ahead = max(1, days)
        relative = Z_PERMILLE * self.deviation_micro_calls // self.micro_calls_a_day
        variance = relative * relative // ahead + relative * relative // min(self.days, STEADY_DAYS)
        return min(SWING_PERMILLE_MAX, isqrt(variance))

    def times(self, permille: int) -> "Pace":
        """The same shape at another level."""
        return Pace(
            self.micro_calls_a_day * permille // 1_000,
            self.shape_permille,
            self.days,
            self.deviation_micro_calls,
        )


class Held(NamedTuple):
    """One pack and what it holds, in burn order: expiry, then start, then id (DESIGN rule 5)."""

    expires_at_ms: int
    starts_at_ms: int
    pack_id: str
    remaining: int


class PackForecast(Struct, frozen=True):
    """What will become of a pack: calls that will be taken from it, and calls that will lapse with it."""

    pack_id: str
    expires_at_ms: int
    remaining: int
    used: int
    lapsing: int


class Option(Struct, frozen=True):
    """A pack on sale, bought when the calls run out: what would be used, and what a used call would cost.

    Attributes:
        offer: the pack.
        used: calls used in its validity, at the lower end of what is expected.
        lasts_days: complete days until it is used up or expires, at the expected pace.
        micro_yuan_per_used_call: its price over `used`, rounded up; None if nothing would be used.
    """

    offer: Offer
    used: int
    lasts_days: int
    micro_yuan_per_used_call: int | None


class Forecast(Struct, frozen=True):
    """What is to come for one capability of an app.

    Attributes:
        pace: its use.
        run_out_ms: the first moment at which no pack and no trial quota covers a call; None if not in sight.
        earliest_ms, latest_ms: the same at the upper and the lower end of what use may be (80 % of the time).
        packs: what will become of each pack held, in burn order.
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

    Args:
        daily: its calls on consecutive Shanghai days, oldest first, zeros included.
        last_day: the Shanghai day that the last of them is, which has to be complete.
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
    # A day's calls vary at least as those of chance alone do: by the root of their mean (Poisson).
    variance = max(squares // max(1, len(recent) - 1), level * MICRO)
    return Pace(level, shape, len(recent), isqrt(variance))


def forecast(
    paces: Mapping[str, Pace],
    trial: int,
    held: Mapping[str, Sequence[Held]],
    now_ms: int,
    catalogue: Sequence[Offer] = (),
) -> dict[str, Forecast]:
    """What is to come for the capabilities that share a trial quota.

    Args:
        paces: of each capability.
        trial: calls left of the quota; with `trial_scope` `capability`, forecast each capability alone.
        held: the packs of each capability that hold calls, pending ones included.
        now_ms: from when on.
        catalogue: what is on sale.
    """
    expected = _burn(paces, trial, held, now_ms)
    swings = {
        name: pace.swing_permille(_days(expected[name].run_out_ms, now_ms)) for name, pace in paces.items()
    }
    more = {name: pace.times(1_000 + swings[name]) for name, pace in paces.items()}
    less = {name: pace.times(1_000 - swings[name]) for name, pace in paces.items()}
    early = _burn(more, trial, held, now_ms)
    late = _burn(less, trial, held, now_ms)
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


class _Burned(NamedTuple):
    run_out_ms: int | None
    packs: tuple[PackForecast, ...]


class _Books:
    """What is left of one capability while time is played forward, in millionths of a call."""

    def __init__(self, pace: Pace, held: Sequence[Held]) -> None:
        self.pace = pace
        self.packs = sorted(held)
        self.left = {pack.pack_id: pack.remaining * MICRO for pack in self.packs}
        self.run_out_ms: int | None = None

    def demand(self, start_ms: int, end_ms: int) -> int:
        """Expected use of a stretch within one day."""
        return self.pace.of_day(shanghai_day(start_ms)) * (end_ms - start_ms) // DAY_MS

    def take(self, start_ms: int, end_ms: int) -> None:
        """Burn the active packs for a stretch in which none starts or expires."""
        wanted = missing = self.demand(start_ms, end_ms)
        for pack in self.packs:
            if pack.starts_at_ms <= start_ms < pack.expires_at_ms:
                taken = min(missing, self.left[pack.pack_id])
                self.left[pack.pack_id] -= taken
                missing -= taken
        if missing and self.run_out_ms is None:
            self.run_out_ms = start_ms + (end_ms - start_ms) * (wanted - missing) // wanted

    def settled(self, time_ms: int) -> bool:
        """Whether nothing that is asked for can change any more after this time."""
        if not self.pace.micro_calls_a_day:
            return True
        spent = all(self.left[pack.pack_id] == 0 or pack.expires_at_ms <= time_ms for pack in self.packs)
        return spent and self.run_out_ms is not None

    def burned(self) -> _Burned:
        """What became of the packs. Less than a call is left of rounding, and counts as used."""
        lapsing = {pack.pack_id: self.left[pack.pack_id] // MICRO for pack in self.packs}
        return _Burned(
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


def _burn(
    paces: Mapping[str, Pace], trial: int, held: Mapping[str, Sequence[Held]], now_ms: int
) -> dict[str, _Burned]:
    """Play time forward: the trial quota first, then packs in burn order, until the horizon."""
    books = {name: _Books(pace, held.get(name, ())) for name, pace in paces.items()}
    left = trial * MICRO
    for start_ms, end_ms in _stretches(now_ms, [pack for packs in held.values() for pack in packs]):
        wanted = sum(each.demand(start_ms, end_ms) for each in books.values())
        free_ms = end_ms if wanted <= left else start_ms + (end_ms - start_ms) * left // wanted
        left = max(0, left - wanted)
        if free_ms < end_ms:
            for each in books.values():
                each.take(free_ms, end_ms)
        if all(each.settled(end_ms) for each in books.values()):
            break
    return {name: each.burned() for name, each in books.items()}


def _stretches(now_ms: int, packs: Sequence[Held]) -> Iterator[tuple[int, int]]:
    """Days from now to the horizon, cut where a pack starts or expires."""
    cuts = sorted({at for pack in packs for at in (pack.starts_at_ms, pack.expires_at_ms) if at > now_ms})
    start_ms = now_ms
    end_ms = now_ms + HORIZON_DAYS * DAY_MS
    waiting = iter([*cuts, end_ms])
    cut = next(waiting)
    while start_ms < end_ms:
        while cut <= start_ms:
            cut = next(waiting)
        midnight_ms = (shanghai_day(start_ms) + 1) * DAY_MS - SHANGHAI_OFFSET_MS
        until_ms = min(midnight_ms, cut, end_ms)
        yield start_ms, until_ms
        start_ms = until_ms


def _days(run_out_ms: int | None, now_ms: int) -> int:
    return HORIZON_DAYS if run_out_ms is None else (run_out_ms - now_ms) // DAY_MS


def _options(capability: str, pace: Pace, start_ms: int, catalogue: Sequence[Offer]) -> tuple[Option, ...]:
    """Offers by what a used call costs; of equal ones the largest first: it has to be bought least often."""
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
