"""The demo's events: those of a file or of a simulated month, and packs for apps that run dry."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from metering.catalogue import DEFAULT, Offer
from metering.event_validation import read_event
from metering.events import CAPABILITIES, Authorization, Capability, Succeeded
from metering.rating import CapabilityReport, rate
from metering.rules import Rules
from metering.times import DAY_MS, SECOND_MS, SHANGHAI_OFFSET_MS, from_ms, shanghai_date, to_ms
from phonemeter.errors import UserError
from phonemeter.event_file import open_event_file
from producers.events import pack_purchased, to_json
from producers.simulate import TrafficPlan, simulate

SOURCE: Final = "/phonemeter/demo"
SIMULATED_DAYS: Final = 30
SIMULATED_TAPS: Final = 20_000
SIMULATED_APPS: Final = 12
SIMULATED_SEED: Final = 4
SIMULATED_CARELESS_SHARE: Final = 0.5
FILE_BYTES_MAX: Final = 1_000_000_000
"""The whole file is in memory, to rate it and to check the ledger against it."""

REALTIME_PRICE_FACTOR: Final = (4, 3)
"""A real-time call costs ¥0.04 where a quick one costs ¥0.03; the price list has quick packs only."""


class DemoPack(NamedTuple):
    """A pack that the demo buys for an app."""

    appid: str
    capability: Capability
    paid_at_ms: int
    event: bytes


def read_file(path: Path) -> list[bytes]:
    """The lines of a file, plain or compressed by gzip, that are not blank, valid events or not.

    Raises:
        UserError: it cannot be read, or holds too much for a demo.
    """
    too_large = UserError(
        f"{path} holds more than {FILE_BYTES_MAX:,} bytes, too many for a demo; use `phonemeter up`, "
        f"then `phonemeter emit {path}`."
    )
    lines = []
    with open_event_file(str(path)) as file:
        if file.size_bytes > FILE_BYTES_MAX:
            raise too_large
        for line in file.lines():
            if line.bytes_read > FILE_BYTES_MAX:
                raise too_large
            lines.append(line.value or b"")
    return lines


def simulated_month(now_ms: int) -> list[bytes]:
    """Seeded traffic of the thirty Shanghai days before today."""
    today_ms = (now_ms + SHANGHAI_OFFSET_MS) // DAY_MS * DAY_MS - SHANGHAI_OFFSET_MS
    plan = TrafficPlan(
        start_ms=today_ms - SIMULATED_DAYS * DAY_MS,
        duration_ms=SIMULATED_DAYS * DAY_MS,
        taps=SIMULATED_TAPS,
        apps=SIMULATED_APPS,
        seed=SIMULATED_SEED,
        careless_share=SIMULATED_CARELESS_SHARE,
    )
    return [arrival.value for arrival in simulate(plan)]


def with_packs(lines: Sequence[bytes], rules: Rules) -> tuple[list[bytes], list[DemoPack]]:
    """Add a pack for every app and capability that the lines would run dry.

    Each is bought one second before the app's first call and precedes its first line, so it covers every call
    of its validity, and is used after the trial quota.
    """
    dry = _run_dry(lines, rules)
    firsts = _first_authorizations(lines, {appid for appid, _ in dry})
    packs = [_pack(appid, capability, firsts[appid].time_ms - SECOND_MS) for appid, capability in dry]
    before: dict[int, list[bytes]] = {}
    for pack in packs:
        before.setdefault(firsts[pack.appid].line, []).append(pack.event)
    return [event for number, line in enumerate(lines) for event in (*before.get(number, ()), line)], packs


def unpublished(lines: Sequence[bytes], published: Sequence[bytes]) -> list[bytes]:
    """The lines that are not in the log yet; a line that occurs twice must be in the log twice."""
    there = Counter(published)
    new = []
    for line in lines:
        if there[line] > 0:
            there[line] -= 1
        else:
            new.append(line)
    return new


def _run_dry(lines: Sequence[bytes], rules: Rules) -> list[tuple[str, Capability]]:
    return [
        (appid, capability)
        for appid, account in rate(lines, rules).apps.items()
        for capability in CAPABILITIES
        if isinstance(use := account[capability], CapabilityReport) and use.uncovered > 0
    ]


class _First(NamedTuple):
    line: int
    time_ms: int


def _first_authorizations(lines: Sequence[bytes], appids: set[str]) -> dict[str, _First]:
    """The number of an app's first line, and the earliest time of its succeeded authorizations."""
    firsts: dict[str, _First] = {}
    for number, line in enumerate(lines):
        event = read_event(line, now_ms=None)
        if not isinstance(event, Authorization) or event.subject not in appids:
            continue
        known = firsts.get(event.subject)
        time_ms = to_ms(event.time)
        if known is None:
            firsts[event.subject] = _First(number, time_ms)
        elif isinstance(event, Succeeded) and time_ms < known.time_ms:
            firsts[event.subject] = known._replace(time_ms=time_ms)
    return firsts


def _pack(appid: str, capability: Capability, paid_at_ms: int) -> DemoPack:
    offer = min(DEFAULT, key=lambda one: one.calls)
    pack_id = f"demo-{capability}-{shanghai_date(paid_at_ms):%Y%m%d}-{appid}"
    event = pack_purchased(
        appid=appid,
        pack_id=pack_id,
        capability=capability,
        calls=offer.calls,
        validity_days=offer.validity_days,
        price_micro_yuan=_price(offer, capability),
        paid_at=from_ms(paid_at_ms),
        order_id=f"order-{pack_id}",
        source=SOURCE,
    )
    return DemoPack(appid, capability, paid_at_ms, to_json(event))


def _price(offer: Offer, capability: Capability) -> int:
    if capability == "quick":
        return offer.price_micro_yuan
    times, over = REALTIME_PRICE_FACTOR
    return offer.price_micro_yuan * times // over


def write_lines(path: Path, lines: Sequence[bytes]) -> None:
    """Write the events to a file, for people and `phonemeter rate`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(line + b"\n" for line in lines))
