"""The forecast of one app: its use and packs are read, the rest is computed by the rules."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from msgspec import Struct

from dashboards.reads.asking import Ask
from dashboards.reads.clock import read_clock
from dashboards.reads.open_packs import read_open_packs
from dashboards.reads.recent_use import read_recent_use
from metering.catalogue import Offer
from metering.events import CAPABILITIES
from metering.forecast import Forecast, forecast
from metering.pack_advice import Holding
from metering.times import shanghai_day

_BALANCES: Final = """
SELECT capability, trial_remaining, trial_shared FROM balances_now WHERE appid = %(appid)s ORDER BY capability
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
    paces = read_recent_use(ask, (appid,), now_ms).paces(appid, shanghai_day(now_ms) - 1)
    held = read_open_packs(ask, (appid,))
    by_capability: dict[str, Holding] = {}
    for names, trial in quotas(balances):
        own = {name: held.get((appid, name), []) for name in names}
        by_capability |= dict.fromkeys(names, Holding({name: paces[name] for name in names}, trial, own))
    return AppHoldings(now_ms, by_capability)


def quotas(balances: Sequence[tuple[Any, ...]]) -> list[tuple[Sequence[str], int]]:
    """The trial quotas of an app: the capabilities of each, and the calls left.

    Balances are of one app: capability, calls left of the trial quota, whether it is one for both.
    """
    _, left, shared = balances[0]
    if shared:
        return [(CAPABILITIES, left)]
    return [((capability,), left) for capability, left, _ in balances]
