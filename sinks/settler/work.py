"""The working out of one app: its facts and sums read from the ledger, decided again, made a settlement."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from msgspec.structs import replace

from metering.corrected_facts import earliest_change_ms
from metering.events import Move
from metering.ledger import Entry
from metering.ledger_facts import AccountLedger
from metering.rules import Rules
from metering.settlement import Correction, LedgerMismatchError, settlement_id, work_out
from metering.settlement_changes import PACK
from metering.settlement_events import settlement_event, settlement_parts
from metering.settlement_facts import CallFact, LedgerGroup, LedgerSums
from metering.times import shanghai_midnight
from sinks.errors import ClickHouseError
from sinks.settler.ledger import FACTS_MAX, AppScope, SettlerLedger, UnsettledApp
from sinks.settler.read_ahead import ReadAhead

SHRINKS_MAX: Final = 12
"""A settlement that did not fit is halved so often, then tried as a whole again."""

SOURCE: Final = "/phonemeter/settler"
"""The CloudEvents source of settlements."""


class TooLargeError(Exception):
    """An app that takes more memory than the settler may use; the sentence says what to do."""


class StoppedError(Exception):
    """The settler is to end; what it has read is read again by the next one."""


class NotCompleteError(ClickHouseError):
    """The ledger changed while it was read, or lacks entries: ClickHouse lost some, or is being filled."""


class Settlement(NamedTuple):
    """A settlement to publish.

    Attributes:
        event_ids, events: of its parts, in order.
        as_of: offset as of which it was worked out.
        moved_calls: calls that it moves.
        calls_read: calls that were decided again.
    """

    event_ids: Sequence[str]
    events: Sequence[bytes]
    as_of: int
    moved_calls: int
    calls_read: int


class AppLedger(Protocol):
    """The ledger of an app, in ClickHouse or read ahead; see `SettlerLedger`."""

    def complete_through(self, partition: int) -> int:
        """The highest offset through which the entries of a partition are complete."""

    def count(self, scope: AppScope) -> int:
        """The number of entries."""

    def facts(self, scope: AppScope) -> list[Entry]:
        """The entries of facts that are no calls."""

    def used_before(self, scope: AppScope) -> list[tuple[str, str, str, int]]:
        """The calls taken from each quota before the time."""

    def sums(self, scope: AppScope, most: int) -> dict[LedgerGroup, int]:
        """The sums of calls from the time on."""

    def calls(self, scope: AppScope) -> Iterator[list[CallFact]]:
        """The calls from the time on."""

    def calls_of(self, scope: AppScope, event_ids: Sequence[str]) -> list[tuple[CallFact, int]]:
        """The calls of these event ids."""


class AppWork:
    """Works apps out. `progressed` is called between pieces of an app, which may take a while, and may raise.

    Raises, when called:
        ClickHouseError: ClickHouse does not answer, or the ledger is not complete.
        KafkaError: the rules of the log could not be read.
        TooLargeError: the app has more than `groups_max` sums.
    """

    def __init__(
        self,
        ledger: SettlerLedger,
        rules_of_log: Callable[[], Rules],
        groups_max: int,
        progressed: Callable[[], None] = lambda: None,
    ) -> None:
        self._ledger = ledger
        self._ahead = ReadAhead(ledger)
        self._rules_of_log = rules_of_log
        self._groups_max = groups_max
        self._progressed = progressed
        self._calls_read = 0

    def expect(self, apps: Sequence[UnsettledApp]) -> None:
        """Note the apps that are worked out next, in their order: small ones are read together."""
        self._ahead.expect(apps)

    def __call__(self, app: UnsettledApp) -> Settlement | None:
        """Work an app out; None while ClickHouse does not have its newest settlement completely."""
        return self._work_out(app, self._ahead.take(app) or self._ledger)

    def _work_out(self, app: UnsettledApp, ledger: AppLedger) -> Settlement | None:
        as_of = ledger.complete_through(app.partition)
        if as_of < max(0, app.settled_offset):
            return None
        self._calls_read = 0
        scope = AppScope(app.appid, app.partition, as_of, app.from_ms)
        if as_of < app.marked_offset:
            # An empty settlement changes nothing, but its record makes the one with the late fact complete.
            # It takes account of no correction, so it is not as of one.
            as_of = max(0, app.settled_as_of)
            correction, sums = Correction([], {}, []), LedgerSums(app.from_ms, {}, {}, {})
        else:
            before = ledger.count(scope)
            correction, sums = self._correction(ledger, scope, app.settled_as_of)
            correction = reduced(correction, sums, app.misfits)
            if ledger.complete_through(app.partition) < as_of or ledger.count(scope) != before:
                raise NotCompleteError(f"the ledger of app {app.appid} changed while it was read")
        parts = settlement_parts(sums, correction, as_of=as_of, after=app.settled_offset)
        return Settlement(
            [settlement_id(app.appid, as_of, app.settled_offset, part.part) for part in parts],
            [settlement_event(app.appid, part, time_ms=app.from_ms, source=SOURCE) for part in parts],
            as_of,
            sum(abs(move.calls) for move in correction.moves),
            self._calls_read,
        )

    def _correction(
        self, ledger: AppLedger, scope: AppScope, settled_as_of: int
    ) -> tuple[Correction, LedgerSums]:
        rules = self._rules_of_log()
        entries = ledger.facts(scope)
        known = AccountLedger()
        for entry in entries:
            known.add(entry)
        scope = _with_corrections(ledger, scope, known, settled_as_of)
        found = ledger.sums(scope, self._groups_max)
        if len(found) > self._groups_max or len(entries) > FACTS_MAX:
            raise TooLargeError(
                f"it has more than {self._groups_max:,} sums by quota, day, scene, store and build (set "
                f"PHONEMETER_SETTLER_GROUPS_MAX higher), or more than {FACTS_MAX:,} facts that are no calls"
            )
        sums = _sums(scope, rules, known, found, ledger.used_before(scope))
        try:
            return work_out(sums, known.facts, self._calls(ledger, scope), rules), sums
        except LedgerMismatchError as error:
            raise NotCompleteError(f"{error} ({scope.appid})") from error

    def _calls(self, ledger: AppLedger, scope: AppScope) -> Iterator[CallFact]:
        for calls in ledger.calls(scope):
            self._calls_read += len(calls)
            self._progressed()
            yield from calls


def reduced(correction: Correction, sums: LedgerSums, misfits: int) -> Correction:
    """The changes that are tried after as many misfits.

    A pack that is to have other terms may be charged while its settlement is on its way. After a misfit it is
    refunded first, so that it takes no more calls, and then replaced, before what concerns no such pack.
    """
    changed = correction.changed_packs
    if not changed:
        return replace(correction, moves=shrunk(correction.moves, misfits))
    if not misfits:
        return correction
    taking = sorted((changed & sums.packs.keys()) - sums.refunded.keys())
    if taking:
        since_ms = {pack_id: max(sums.from_ms, sums.packs[pack_id].pack.paid_at_ms) for pack_id in taking}
        return Correction([], since_ms, [], correction.rules)
    quotas = {PACK + pack_id for pack_id in changed}
    moves = [
        move if move.to in quotas else replace(move, to="uncovered")
        for move in correction.moves
        if {move.from_, move.to} & quotas
    ]
    return replace(correction, moves=[move for move in moves if move.from_ != move.to or move.to in quotas])


def shrunk(moves: list[Move], misfits: int) -> list[Move]:
    """The first of the moves, half as many calls as before after each misfit.

    An app that makes calls all the time fills a pack while its settlement is on its way, so that the calls
    that belong there do not fit any more. Fewer leave room, and the next rounds move the others.
    """
    left = sum(move.calls for move in moves) >> misfits % SHRINKS_MAX
    kept = []
    for move in moves:
        if left > 0:
            kept.append(replace(move, calls=min(left, move.calls)))
        left -= move.calls
    return kept or moves


def _with_corrections(
    ledger: AppLedger, scope: AppScope, known: AccountLedger, settled_as_of: int
) -> AppScope:
    """Add the calls that corrections name, and go back to the earliest time that they concern."""
    facts = known.facts
    for call, offset in ledger.calls_of(scope, sorted({each.fact_id for each in facts.corrections})):
        facts.corrected_calls.append(call)
        facts.offsets[call.event_id] = offset
    changed_ms = earliest_change_ms(facts, settled_as_of)
    if changed_ms is None:
        return scope
    return scope._replace(from_ms=min(scope.from_ms, shanghai_midnight(changed_ms)))


def _sums(
    scope: AppScope,
    rules: Rules,
    known: AccountLedger,
    found: Mapping[LedgerGroup, int],
    used_before: Iterable[tuple[str, str, str, int]],
) -> LedgerSums:
    # A trial quota of no calls has no grant, and may still be opened.
    trial_left = Counter(known.granted)
    used = known.opened_packs
    # An opening has effect from the beginning, whenever it was told (rule 16).
    for (capability, pack_id), calls in known.opened.items():
        if not pack_id:
            trial_left[capability] -= calls
    trial_sizes = dict(trial_left)
    for kind, capability, pack_id, calls in used_before:
        if kind == "charge":
            used[pack_id] += calls
        else:
            trial_left[capability if rules.trial_scope == "capability" else ""] -= calls
    return LedgerSums(
        scope.from_ms,
        trial_left,
        used,
        found,
        known.refunded,
        known.packs,
        known.opened_packs,
        known.observed_packs,
        known.owner,
        trial_sizes,
    )
