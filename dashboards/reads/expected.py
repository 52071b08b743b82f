"""Expectations of one capability of an app: its use of the next days, its run-out, what will lapse."""

from datetime import date, timedelta
from typing import Final, NamedTuple

from dashboards.reads.recent_use import EPOCH
from metering.forecast import Pace, Projection
from metering.times import DAY_MS, shanghai_day, shanghai_midnight

DAYS_AHEAD: Final = 150


class ExpectedUse(NamedTuple):
    """The forecast of one capability.

    Attributes:
        run_out_at_ms: when nothing covers a call any more; None if not within three years.
        calls: of each Shanghai day, the first of which is today from now on.
        lapsing: by pack, how many calls will lapse with it.
    """

    run_out_at_ms: int | None
    calls: dict[date, float]
    lapsing: dict[str, int]


def expected_use(pace: Pace, foretold: Projection, now_ms: int) -> ExpectedUse:
    """The forecast of one capability for some months."""
    today = shanghai_day(now_ms)
    calls = {
        EPOCH + timedelta(days=day): pace.of_day(day) / 1_000_000 for day in range(today, today + DAYS_AHEAD)
    }
    gone = (now_ms - shanghai_midnight(now_ms)) / DAY_MS
    calls[EPOCH + timedelta(days=today)] *= 1 - gone
    return ExpectedUse(foretold.run_out_ms, calls, {pack.pack_id: pack.lapsing for pack in foretold.packs})
