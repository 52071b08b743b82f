"""The forecast of one app: its use and packs are read, the rest is computed by the rules.

The view `forecasts` computes it for all apps at once, which takes seconds where there are many.
"""

from collections.abc import Sequence
from datetime import date
from typing import Any, Final, NamedTuple

from msgspec import Struct

from dashboards.reads.asking import Ask
from dashboards.reads.clock import read_clock
from metering.catalogue import Offer
from metering.events import CAPABILITIES
from metering.forecast import HISTORY_WEEKS, Forecast, OpenPack, Pace, forecast, pace_of
from metering.pack_advice import Holding
from metering.times import shanghai_day, to_ms

HISTORY_DAYS: Final = HISTORY_WEEKS * 7
EPOCH: Final = date(1970, 1, 1)

_BALANCES: Final = """
SELECT capability, trial_remaining, trial_shared FROM balances_now WHERE appid = %(appid)s ORDER BY capability
"""

_PACKS: Final = """
SELECT capability, expires_at, starts_at, pack_id, remaining FROM packs
WHERE appid = %(appid)s AND status IN ('active', 'pending') AND remaining > 0
"""

# The first day is that of the app's first call: days before it are no days without use.
_USED: Final = """
SELECT capability, day, sum(usage_daily.charged + usage_daily.trial_charged + usage_daily.uncovered) AS used
FROM usage_daily WHERE appid = %(appid)s GROUP BY capability, day HAVING used != 0
"""


class AppForecast(Struct):
    """The forecast of an app: its time, and the forecast of each capability."""

    appid: str
    as_of_ms: int
    capabilities: dict[str, Forecast]


class AppHoldings(NamedTuple):
    """The calls that an app holds: its time, and by capability what is left with the pace of its use."""

    as_of_ms: int
    by_capability: dict[str, Holding]


def find_forecast(ask: Ask, appid: str, catalogue: Sequence[Offer] = ()) -> AppForecast | None:
    """The forecast of an app, with what to buy of a catalogue; None if the ledger has no entry about it."""
    holdings = find_holdings(ask, appid)
    if holdings is None:
        return None
    found: dict[str, Forecast] = {}
    for name, holding in holdings.by_capability.items():
        if name not in found:
            found |= forecast(holding.paces, holding.trial, holding.packs, holdings.as_of_ms, catalogue)
    return AppForecast(appid, holdings.as_of_ms, found)


def find_holdings(ask: Ask, appid: str) -> AppHoldings | None:
    """The calls that an app holds; None if the ledger has no entry about it."""
    about: dict[str, object] = {"appid": appid}
    balances = ask(_BALANCES, about)
    if not balances:
        return None
    now_ms = read_clock(ask).now_ms
    paces = _paces(ask(_USED, about), shanghai_day(now_ms) - 1)
    held: dict[str, list[OpenPack]] = {name: [] for name in CAPABILITIES}
    for capability, expires_at, starts_at, pack_id, remaining in ask(_PACKS, about):
        held[capability].append(OpenPack(to_ms(expires_at), to_ms(starts_at), pack_id, remaining))
    by_capability: dict[str, Holding] = {}
    for names, trial in _quotas(balances):
        holding = Holding({name: paces[name] for name in names}, trial, {name: held[name] for name in names})
        by_capability |= dict.fromkeys(names, holding)
    return AppHoldings(now_ms, by_capability)


def _quotas(balances: Sequence[tuple[Any, ...]]) -> list[tuple[Sequence[str], int]]:
    """The trial quotas: the capabilities of each, and the calls left."""
    _, left, shared = balances[0]
    if shared:
        return [(CAPABILITIES, left)]
    return [((capability,), left) for capability, left, _ in balances]


def _paces(used: Sequence[tuple[Any, ...]], last_day: int) -> dict[str, Pace]:
    """The pace of each capability over complete days, from the app's first call on."""
    by_day = {(capability, (day - EPOCH).days): calls for capability, day, calls in used}
    first_day = max(min((day for _, day in by_day), default=last_day + 1), last_day + 1 - HISTORY_DAYS)
    return {
        name: pace_of([by_day.get((name, day), 0) for day in range(first_day, last_day + 1)], last_day)
        for name in CAPABILITIES
    }
