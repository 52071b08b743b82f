"""The settler's loop: find unsettled apps, work each out, publish its settlement, and see what became of it.

It keeps nothing that it needs: what is lost with it, or done twice by two settlers, costs a further round.
The stream applies a settlement only if it follows the one before; the ledger says whether an app is settled.
"""

import logging
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from kafka.errors import KafkaError

from sinks.backoff import backoff_s
from sinks.errors import ClickHouseError
from sinks.settler.ledger import UnsettledApp
from sinks.settler.metrics import Metrics
from sinks.settler.work import Settlement, StoppedError, TooLargeError

log = logging.getLogger(__name__)

SEEN_S_MAX: Final = 20.0
"""Time within which a published settlement should be in the ledger; then the app is worked out again."""


class UnsettledApps(Protocol):
    """The part of the ledger that the loop uses."""

    def unsettled(self) -> list[UnsettledApp]:
        """The unsettled apps."""


class SettlementOutput(Protocol):
    """The part of the publisher that the loop uses."""

    def publish(self, appid: str, partition: int, events: Sequence[bytes]) -> None:
        """Publish the parts of a settlement; returns when the broker has them."""


class WorkOnApps(Protocol):
    """The working out of apps."""

    def expect(self, apps: Sequence[UnsettledApp]) -> None:
        """Note the apps of a round, in the order in which they are worked out."""

    def __call__(self, app: UnsettledApp) -> Settlement | None:
        """Read an app and return its settlement; None if there is nothing new to read."""


class Published(NamedTuple):
    """A settlement on its way.

    Attributes:
        event_ids: ids of its parts.
        seen_offset: offset of the app's newest outcome when it was published.
        began_s: when its app began to be read: what was unsettled then is settled by it.
        until_s: when it is given up.
    """

    event_ids: Sequence[str]
    seen_offset: int
    began_s: float
    until_s: float


class Settler:
    """Settles apps until `stop` is set. Everything runs in the caller's thread.

    `follow` is called at the end of each round.
    """

    def __init__(  # noqa: PLR0917 - the parts that it connects
        self,
        ledger: UnsettledApps,
        publisher: SettlementOutput,
        work_out: WorkOnApps,
        metrics: Metrics,
        stop: threading.Event,
        pause_s: float,
        monotonic_s: Callable[[], float] = time.monotonic,
        follow: Callable[[], None] = lambda: None,
    ) -> None:
        self._follow = follow
        self._ledger = ledger
        self._publisher = publisher
        self._work_out = work_out
        self._metrics = metrics
        self._stop = stop
        self._pause_s = pause_s
        self._monotonic_s = monotonic_s
        self._since_s: dict[str, float] = {}
        self._took_s: dict[str, float] = {}
        self._reasons: dict[str, str] = {}
        self._published: dict[str, Published] = {}

    def run(self) -> None:
        """Work until `stop` is set."""
        failures = 0
        while not self._stop.is_set():
            try:
                self.turn()
            except ClickHouseError as error:
                self._metrics.mark_clickhouse_down(str(error))
                self._back_off("ClickHouse", error, failures)
                failures += 1
            except KafkaError as error:
                self._metrics.mark_kafka_error(str(error))
                self._back_off("Kafka", error, failures)
                failures += 1
            else:
                failures = 0
                self._stop.wait(self._pause_s)

    def turn(self) -> None:
        """Make one round: every unsettled app that has no settlement on its way is worked out once."""
        apps = self._ledger.unsettled()
        self._metrics.mark_clickhouse_up()
        self._take_note(apps)
        self._metrics.health.record_turn()
        due = self._due(apps)
        self._work_out.expect(due)
        for app in due:
            if self._stop.is_set():
                return
            try:
                self._settle(app)
            except StoppedError:
                return
            self._metrics.health.record_turn()
        self._follow()

    def _due(self, apps: Sequence[UnsettledApp]) -> list[UnsettledApp]:
        """The apps to work out; those that take long come last, so that others do not wait for them."""
        waiting = [app for app in apps if app.appid not in self._published]
        return sorted(waiting, key=lambda app: self._took_s.get(app.appid, 0.0))

    def _settle(self, app: UnsettledApp) -> None:
        began_s = self._monotonic_s()
        try:
            settlement = self._work_out(app)
            if settlement is not None:
                self._publisher.publish(app.appid, app.partition, settlement.events)
        except StoppedError:
            raise
        except TooLargeError as error:
            self._give_up(app, str(error))
            settlement = None
        except (ClickHouseError, KafkaError) as error:
            # The next time the others come before it, in case that it alone is the cause.
            self._took_s[app.appid] = float("inf")
            self._reasons[app.appid] = str(error)
            raise
        except Exception as error:  # noqa: BLE001 - a mistake that one app meets must not end the others' settlements
            self._took_s[app.appid] = float("inf")
            self._give_up(app, _mistake(error))
            return
        self._took_s[app.appid] = self._monotonic_s() - began_s
        self._metrics.work_seconds.observe(self._took_s[app.appid])
        if settlement is None:
            return
        self._metrics.calls_read.inc(settlement.calls_read)
        self._metrics.moved_calls.inc(settlement.moved_calls)
        self._published[app.appid] = Published(
            settlement.event_ids, app.outcome_offset, began_s, self._monotonic_s() + SEEN_S_MAX
        )
        log.info(
            "App %s: settlement as of offset %d of partition %d moves %d of %d calls, in %d parts.",
            app.appid,
            settlement.as_of,
            app.partition,
            settlement.moved_calls,
            settlement.calls_read,
            len(settlement.events),
        )

    def _give_up(self, app: UnsettledApp, reason: str) -> None:
        """Leave an app for this round; it is logged when the reason is new."""
        if self._reasons.get(app.appid) != reason:
            log.warning("App %s cannot be settled: %s", app.appid, reason)
        self._reasons[app.appid] = reason

    def _take_note(self, apps: Sequence[UnsettledApp]) -> None:
        """Take note of which apps are unsettled, and of what became of published settlements."""
        now_s = self._monotonic_s()
        unsettled = {app.appid: app for app in apps}
        for appid in [appid for appid in self._since_s if appid not in unsettled]:
            log.info("App %s is settled.", appid)
            del self._since_s[appid]
            self._took_s.pop(appid, None)
            self._reasons.pop(appid, None)
        for appid in unsettled:
            self._since_s.setdefault(appid, now_s)
        for appid, published in list(self._published.items()):
            outcome = _outcome(published, unsettled.get(appid), now_s)
            if outcome:
                self._end(appid, published, outcome, unsettled.get(appid))
        self._metrics.set_waiting(self._since_s, self._reasons)

    def _end(self, appid: str, published: Published, outcome: str, app: UnsettledApp | None) -> None:
        del self._published[appid]
        self._metrics.settlements.labels(outcome).inc()
        if outcome == "applied":
            self._reasons.pop(appid, None)
            if app is not None:
                self._since_s[appid] = published.began_s
        elif outcome == "refused" and app is not None:
            log.info("App %s: the settlement was refused (%s); it is worked out again.", appid, app.refusal)
            self._reasons[appid] = f"its last settlement was refused ({app.refusal})"
        elif outcome == "unseen":
            log.warning("App %s: the settlement is not in the ledger yet; it is worked out again.", appid)
            self._reasons[appid] = "its last settlement is not in the ledger yet"

    def _back_off(self, server: str, error: Exception, failures: int) -> None:
        pause_s = backoff_s(failures)
        log.warning("%s: %s; trying again in %.1f s.", server, error, pause_s)
        self._stop.wait(pause_s)


def _mistake(error: Exception) -> str:
    """The sentence about an error that nothing expects, with its place in the program."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"a mistake in phonemeter, {type(error).__name__} ({error}) in {Path(place.filename).name}, "
        f"line {place.lineno}; please report it"
    )


def _outcome(published: Published, app: UnsettledApp | None, now_s: float) -> str:
    """The outcome of a settlement; empty while it is not known."""
    if app is None:
        return "applied"
    if app.outcome_offset > published.seen_offset:
        # ClickHouse may have the first digits of an id only.
        own = [event_id for event_id in published.event_ids if event_id.startswith(app.outcome_id)]
        if not own:
            return "overtaken"
        if app.refusal:
            return "refused"
        if own[0] == published.event_ids[-1]:
            return "applied"
    return "unseen" if now_s > published.until_s else ""
