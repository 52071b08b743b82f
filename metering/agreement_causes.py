"""Causes of differences to the platform's count (rule 17), as far as there is evidence, and no further.

A difference is explained by events of our log that lie in its window. Where more events than calls could
explain it, a cause has only the calls that no other could have; the rest is said to be one of several. No
event can be evidence of a call that never reached us: what the platform counts beyond evidence is lost.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Final, Literal, NamedTuple

from metering.agreement import Window

Cause = Literal[
    "exchange_failed",
    "code_unused",
    "no_pack_here",
    "not_charged_here",
    "lost_callback",
    "before_log",
    "double_tap",
    "legacy",
    "test_build",
    "lag",
    "late_event",
    "late_purchase",
    "unexplained",
]

MORE_THERE: Final[tuple[Cause, ...]] = ("exchange_failed", "code_unused", "no_pack_here", "not_charged_here")
"""Causes, with evidence, of calls that the platform counts and we do not."""

MORE_HERE: Final[tuple[Cause, ...]] = ("double_tap", "legacy", "test_build")
"""Causes, with evidence, of calls that we count and the platform does not."""

HEALED: Final[tuple[Cause, ...]] = ("lag", "late_event", "late_purchase")
"""Causes of differences that are none any more, or only between quotas of the same capability."""

LAG_MS: Final = 120_000
"""The longest time from an observation to a call that may have been counted on its other side."""

DOUBLE_TAP_MS: Final = 5_000
"""The longest time between two taps of one client that may be a double tap."""

EXCHANGE_ERRNOS: Final = (-1, 40_001, 40_013, 40_014, 40_029, 40_163, 41_001, 42_001, 45_009, 45_011)
"""Errors of the exchange of a code for the number, by when the call was charged; the component has others."""

EXCHANGE_SOURCE: Final = "/exchange"
"""End of the `source` of a failure that is about the exchange, with `errno` 0 if it was never tried."""

LEGACY_SOURCE: Final = "/legacy"
"""End of the `source` of calls whose number was decrypted on the server, without a code."""


class Evidence(NamedTuple):
    """An event that may be the reason of a difference of one call, by one of `causes` of one direction."""

    causes: tuple[Cause, ...]
    capability: str
    time_ms: int
    event_id: str


class NearCalls(NamedTuple):
    """The calls shortly before and after an observation."""

    before: int = 0
    after: int = 0


class Finding(NamedTuple):
    """A part of a difference.

    Attributes:
        causes: the cause; several if the evidence does not tell which.
        effect: calls by which the platform's count is larger; 0 for what has healed.
        calls: how many they are.
        capability: of the pool; empty for both together.
        from_ms, to_ms: between these observations; equal for what lies in no window.
        events: ids of the events that may be evidence, each of one call.
    """

    causes: tuple[Cause, ...]
    effect: int
    calls: int
    capability: str
    from_ms: int
    to_ms: int
    events: tuple[str, ...] = ()


def explain_differences(
    windows: Sequence[Window],
    evidence: Iterable[Evidence],
    near: Mapping[tuple[str, int], NearCalls] | None = None,
) -> list[Finding]:
    """Explain the windows of an app.

    Args:
        windows: of the app, by capability and time.
        evidence: events; those of healed causes are told as they are.
        near: calls around each observation, by capability and moment.

    Returns:
        Findings whose effects add up to the changes of all windows.
    """
    given = sorted(evidence, key=_time)
    times = [one.time_ms for one in given]
    found = _healed(given)
    for window in windows:
        if window.moved:
            found.append(
                Finding(("late_purchase",), 0, window.moved, *window[:3], events=(window.late_pack,))
            )
    open_windows = []
    for window in windows:
        causes = MORE_HERE if window.change < 0 else MORE_THERE
        within = given[bisect_right(times, window.from_ms) : bisect_right(times, window.to_ms)]
        fitting = [one for one in within if one.causes[0] in causes and _is_of(window, one)]
        explained, open_window = _explain(window, fitting)
        found += explained
        open_windows.append(open_window)
    _exchange_near_events(open_windows, found)
    _exchange_calls(open_windows, near or {}, found)
    found += [_without_evidence(one) for one in open_windows if one.rest]
    return sorted(found, key=_place)


class _OpenWindow:
    """A window with what its own events leave open.

    Attributes:
        rest: calls that they do not explain.
        spare: events of which as many as `spare_count` are not needed.
    """

    __slots__ = ("rest", "spare", "spare_count", "window")

    def __init__(self, window: Window, rest: int, spare: list[Evidence], spare_count: int) -> None:
        self.window = window
        self.rest = rest
        self.spare = spare
        self.spare_count = spare_count

    @property
    def sign(self) -> int:
        """-1 if our count became larger, otherwise 1."""
        return -1 if self.window.change < 0 else 1


def _explain(window: Window, evidence: Sequence[Evidence]) -> tuple[list[Finding], _OpenWindow]:
    """Explain a window by its events."""
    sign = -1 if window.change < 0 else 1
    calls = abs(window.change)
    pools: dict[tuple[Cause, ...], list[Evidence]] = defaultdict(list)
    for one in evidence:
        pools[one.causes].append(one)
    found = []
    either: list[Evidence] = []
    taken = 0
    for causes, events in pools.items():
        certain = min(len(events), max(0, calls - (len(evidence) - len(events))))
        if certain:
            found.append(_finding(causes, window, certain, events, effect=sign * certain))
        taken += certain
        if certain < len(events):
            either += events
    one_of = min(calls - taken, len(evidence) - taken)
    if one_of:
        causes = tuple(sorted({cause for one in either for cause in one.causes}))
        found.append(_finding(causes, window, one_of, either, effect=sign * one_of))
    return found, _OpenWindow(window, calls - taken - one_of, either, len(evidence) - taken - one_of)


def _exchange_near_events(open_windows: Sequence[_OpenWindow], found: list[Finding]) -> None:
    """Explain calls at the platform by events just outside of their window that are not needed there."""
    for first, second in pairwise(open_windows):
        meet = (first.window.capability, first.window.to_ms) == (
            second.window.capability,
            second.window.from_ms,
        )
        if not meet or first.sign < 0 or second.sign < 0:
            continue
        boundary_ms = first.window.to_ms
        for needy, giving in ((first, second), (second, first)):
            for one in giving.spare:
                if needy.rest and giving.spare_count and abs(one.time_ms - boundary_ms) <= LAG_MS:
                    needy.rest -= 1
                    giving.spare_count -= 1
                    found.append(_finding(one.causes, needy.window, 1, [one], effect=1))


def _exchange_calls(
    open_windows: Sequence[_OpenWindow],
    near: Mapping[tuple[str, int], NearCalls],
    found: list[Finding],
) -> None:
    """Find calls that one side counted just before an observation and the other just after it."""
    for first, second in pairwise(open_windows):
        window = first.window
        if not _meet(first, second) or first.sign == second.sign or not window.from_ms:
            continue
        around = near.get((window.capability, window.to_ms), NearCalls())
        calls = min(first.rest, second.rest, around.after if first.sign > 0 else around.before)
        if calls:
            first.rest -= calls
            second.rest -= calls
            found.append(_finding(("lag",), window, calls, [], effect=0))


def _meet(first: _OpenWindow, second: _OpenWindow) -> bool:
    before, after = first.window, second.window
    return before.capability in {"", after.capability} and before.to_ms == after.from_ms


def _without_evidence(open_window: _OpenWindow) -> Finding:
    window = open_window.window
    causes: tuple[Cause, ...] = ("unexplained",)
    if open_window.sign > 0:
        causes = ("lost_callback",) if window.from_ms else ("before_log", "lost_callback")
    effect = open_window.sign * open_window.rest
    return _finding(causes, window, open_window.rest, [], effect=effect)


def _healed(evidence: Iterable[Evidence]) -> list[Finding]:
    events: dict[tuple[tuple[Cause, ...], str], list[Evidence]] = defaultdict(list)
    for one in evidence:
        if one.causes[0] in HEALED:
            events[one.causes, one.capability].append(one)
    return [
        Finding(
            causes,
            0,
            len(those),
            capability,
            min(one.time_ms for one in those),
            max(one.time_ms for one in those),
            tuple(one.event_id for one in those),
        )
        for (causes, capability), those in events.items()
    ]


def _finding(
    causes: tuple[Cause, ...], window: Window, calls: int, events: Iterable[Evidence], *, effect: int
) -> Finding:
    ids = tuple(one.event_id for one in events)
    return Finding(causes, effect, calls, window.capability, window.from_ms, window.to_ms, ids)


def _is_of(window: Window, one: Evidence) -> bool:
    return window.capability in {"", one.capability}


def _place(finding: Finding) -> tuple[object, ...]:
    return finding.from_ms, finding.to_ms, finding.capability, finding.causes


def _time(evidence: Evidence) -> int:
    return evidence.time_ms
