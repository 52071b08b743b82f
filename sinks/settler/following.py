"""Following the platform's count (rule 17): differences that stay are booked where an app's policy says so.

What is published is a fact like another settlement. Nothing is kept that is needed: two settlers, or one that
was killed, may publish the same difference twice, and the stream applies one of them.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Final, NamedTuple, Protocol

import msgspec

from metering.events import CAPABILITIES, SETTLEMENT_TYPE, Move, SettlementData
from metering.following import FOLLOWED
from metering.settlement_changes import PACK
from metering.times import format_time, to_ms
from metering.times import from_ms as moment

log = logging.getLogger(__name__)

EVENTS_MAX: Final = 20
"""Differences of one app that are published in one turn; the others are in the next ones."""

SOURCE: Final = "/phonemeter/settler"
"""The CloudEvents source of settlements that follow."""


class FollowingApp(NamedTuple):
    """An app that follows the platform's count.

    `newest_id` is the event id of its newest settlement that was to follow; empty without one.
    """

    appid: str
    partition: int
    newest_id: str


class FollowedDifference(NamedTuple):
    """Calls of a pack that the platform counts more than the ledger; of the trial quota without a `pack_id`.

    `since_ms` is the first observation that had the difference.
    """

    appid: str
    capability: str
    pack_id: str
    calls: int
    since_ms: int


class FollowingLedger(Protocol):
    """The part of the ledger that following uses."""

    def following(self) -> list[FollowingApp]:
        """The apps that follow the platform's count."""

    def complete_through(self, partition: int) -> int:
        """The highest offset through which the entries of a source partition are complete; -1 without one."""

    def newest_settlements(self) -> dict[str, int]:
        """The source offset of the newest settlement of each app that follows."""

    def staying(self) -> list[FollowedDifference]:
        """The differences of these apps that stay."""


class FollowingOutput(Protocol):
    """The part of the publisher that following uses."""

    def publish(self, appid: str, partition: int, events: Sequence[bytes]) -> None:
        """Publish settlements; returns when the broker has them."""


class _Published(NamedTuple):
    """A difference of an app that was published, and is on its way or was refused.

    `ids` are those that the ledger may have as its newest, in order, until somebody else's comes.
    """

    ids: tuple[str, ...]
    moves: tuple[Move, ...]


class Follower:
    """Publishes what is to be booked, at most once every `pause_s`."""

    def __init__(
        self,
        ledger: FollowingLedger,
        publisher: FollowingOutput,
        pause_s: float,
        booked: Callable[[int], None] = lambda _calls: None,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._publisher = publisher
        self._pause_s = pause_s
        self._booked = booked
        self._monotonic_s = monotonic_s
        self._next_s = 0.0
        self._published: dict[str, _Published] = {}

    def turn(self) -> None:
        """Look for differences, if it is time.

        Raises:
            ClickHouseError: ClickHouse does not answer.
            KafkaError: the broker did not confirm a settlement.
        """
        if self._monotonic_s() < self._next_s:
            return
        apps = self._ledger.following()
        if apps:
            self._follow(apps)
        self._next_s = self._monotonic_s() + self._pause_s

    def _follow(self, apps: Sequence[FollowingApp]) -> None:
        # Read before the differences, so that these have everything that was complete then.
        complete = {app.partition: self._ledger.complete_through(app.partition) for app in apps}
        differing: defaultdict[str, list[FollowedDifference]] = defaultdict(list)
        for difference in self._ledger.staying():
            differing[difference.appid].append(difference)
        # Read after them: of a settlement that is newer, they may have a part only.
        newest = self._ledger.newest_settlements()
        for app in apps:
            as_of = complete[app.partition]
            if newest.get(app.appid, -1) <= as_of:
                self._publish(app, as_of, [_move(each) for each in differing[app.appid]])

    def _publish(self, app: FollowingApp, as_of: int, moves: Sequence[Move]) -> None:
        known = self._published.pop(app.appid, None)
        if known is None or app.newest_id not in known.ids:
            known = _Published((app.newest_id,), ())
        # What was published and has still not come about is on its way, or does not fit.
        kept = tuple(move for move in moves if move in known.moves)
        new = sorted((move for move in moves if move not in kept), key=lambda move: (move.time, move.to))
        ids, events = known.ids[known.ids.index(app.newest_id) :], []
        # Each by itself, so that one that does not fit keeps back no other.
        for move in new[:EVENTS_MAX]:
            identifier, value = following_event(app.appid, ids[-1], move, as_of)
            ids = (*ids, identifier)
            events.append(value)
        if events:
            self._publisher.publish(app.appid, app.partition, events)
            calls = sum(move.calls for move in new[:EVENTS_MAX])
            self._booked(calls)
            log.info("App %s: %d calls are to be booked, to follow the platform's count.", app.appid, calls)
        self._published[app.appid] = _Published(ids, (*kept, *new[:EVENTS_MAX]))


def _move(difference: FollowedDifference) -> Move:
    quota = PACK + difference.pack_id if difference.pack_id else "trial"
    from_, to = (FOLLOWED, quota) if difference.calls > 0 else (quota, FOLLOWED)
    return Move(
        capability=CAPABILITIES[CAPABILITIES.index(difference.capability)],
        from_=from_,
        to=to,
        calls=abs(difference.calls),
        time=moment(difference.since_ms),
    )


def following_event(appid: str, newest_id: str, move: Move, as_of: int) -> tuple[str, bytes]:
    """The event that books a difference, and its id: the same one from whoever sees the same difference."""
    data = SettlementData(as_of=max(0, as_of), after=-1, from_=move.time, moves=[move], follows=newest_id)
    identifier = sha256(msgspec.json.encode((appid, newest_id, move))).hexdigest()
    value = {
        "specversion": "1.0",
        "id": identifier,
        "source": SOURCE,
        "type": SETTLEMENT_TYPE,
        "subject": appid,
        "time": format_time(to_ms(move.time)),
        "datacontenttype": "application/json",
        "data": data,
    }
    return identifier, msgspec.json.encode(value)
