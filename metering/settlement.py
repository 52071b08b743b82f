"""Settlement: what brings an app to the order of effective time, from its facts and its ledger (rule 8).

`work_out` is pure. Its caller gives the facts of an app and the sums of its ledger, both as of one source
offset, and publishes the correction as `account.settled` (`metering.settlement_events`).
"""

from collections.abc import Iterable, Mapping, Set
from hashlib import sha256
from typing import Final

from msgspec import Struct

from metering.corrected_facts import CorrectedCalls, Place, correct_facts, terms_of
from metering.events import Capability, Move, OwnerTerms, PackTerms
from metering.rules import Rules, rules_of_decisions
from metering.settlement_changes import PACK
from metering.settlement_facts import (
    AccountFacts,
    CallFact,
    LedgerSums,
    PurchaseFact,
    RegistrationFact,
)
from metering.settlement_replay import EffectiveOrder
from metering.times import DAY_MS, EARLIEST_MS, shanghai_midnight
from metering.times import from_ms as moment

_BEFORE: Final = "before "
"""Prefix of a pack's quota under terms that are corrected."""


class Correction(Struct):
    """The differences of a ledger from the order of effective time.

    `packs` have other terms or are new, `removed` ones are not there, `owner` is None if it is right.
    `refunded` has the times of the refunds. `rules` is the digest of those that it was worked out by.
    """

    moves: list[Move]
    refunded: dict[str, int]
    not_refunded: list[str]
    rules: str = ""
    packs: list[PackTerms] = []
    removed: list[str] = []
    owner: OwnerTerms | None = None

    @property
    def changed_packs(self) -> frozenset[str]:
        """The packs whose terms differ, and those that are not there."""
        return frozenset({*self.removed, *(each.pack.pack_id for each in self.packs)})


class LedgerMismatchError(ValueError):
    """The calls of the ledger and of the facts are not the same: both have to be read again."""


def work_out(ledger: LedgerSums, facts: AccountFacts, calls: Iterable[CallFact], rules: Rules) -> Correction:
    """Work an app out in the order of effective time, and compare its ledger with that.

    `calls` are those from `ledger.from_ms` on, by time, then by event id. They are read once.

    Raises:
        LedgerMismatchError: the ledger has other calls.
    """
    corrected = correct_facts(facts, ledger, rules)
    order = EffectiveOrder(ledger, corrected.facts, rules)
    expected: dict[tuple[Capability, int], dict[Place, dict[str, tuple[int, int]]]] = {}
    for capability, day, place, quotas in order.groups(corrected.calls(calls)):
        expected.setdefault((capability, day), {})[place] = dict(quotas)
    for key, followed in order.followed.items():
        nowhere = expected.setdefault(key, {}).setdefault(("", "", ""), {})
        for quota, (number, first_ms) in followed.items():
            nowhere[quota] = (nowhere.get(quota, (0, 0))[0] + number, first_ms)
    packs, removed = _other_terms(ledger.packs, order.purchases, ledger.opened)
    changed = {each.pack.pack_id for each in packs}
    otherwise = _refunded_otherwise(ledger.refunded, order, rules)
    packs += [each for each in otherwise if each.pack.pack_id not in changed]
    correction = Correction(
        [],
        {},
        [],
        rules_of_decisions(rules),
        packs,
        removed,
        _other_owner(ledger.owner, corrected.facts.registrations),
    )
    changed_quotas = frozenset(PACK + pack_id for pack_id in correction.changed_packs)
    correction.moves = _in_between(list(_all_moves(ledger, expected, corrected.moved, changed_quotas)))
    refunded = ledger.refunded.keys() - correction.changed_packs
    correction.refunded = {
        pack_id: time_ms for pack_id, time_ms in sorted(order.refunded.items()) if pack_id not in refunded
    }
    correction.not_refunded = sorted(refunded - order.refunded.keys())
    return correction


def _other_terms(
    present: Mapping[str, PurchaseFact], expected: Mapping[str, PurchaseFact], opened: Mapping[str, int]
) -> tuple[list[PackTerms], list[str]]:
    """The packs that have other terms than they should have or are missing, and those that should not be."""
    packs = []
    for pack_id, purchase in sorted(expected.items()):
        found = present.get(pack_id)
        used = opened.get(pack_id, 0)
        if found is None or terms_of(found._replace(used_before=used)) != terms_of(purchase):
            packs.append(PackTerms(of=purchase.event_id, pack=terms_of(purchase)))
    return packs, sorted(present.keys() - expected.keys())


def _refunded_otherwise(
    present: Mapping[str, int], order: EffectiveOrder, rules: Rules
) -> Iterable[PackTerms]:
    """The packs that are refunded before they lapse and should be after it, or the other way round.

    They are taken back and bought anew, as those with other terms.
    """
    for pack_id, time_ms in sorted(order.refunded.items()):
        purchase = order.purchases[pack_id]
        lapses_ms = purchase.pack.lapses_at_ms(rules)
        if pack_id in present and (present[pack_id] < lapses_ms) != (time_ms < lapses_ms):
            yield PackTerms(of=purchase.event_id, pack=terms_of(purchase))


def _other_owner(
    present: RegistrationFact | None, registrations: Iterable[RegistrationFact]
) -> OwnerTerms | None:
    """The owner that should hold, if another one does."""
    expected = max(registrations, key=lambda each: (each.time_ms, each.event_id), default=None)
    if expected == present:
        return None
    if expected is None:
        return OwnerTerms(of="", time=moment(EARLIEST_MS), entity_type="")
    return OwnerTerms(
        of=expected.event_id,
        time=moment(expected.time_ms),
        entity_type=expected.entity_type,
        name=expected.name,
        category=expected.category,
    )


def settlement_id(appid: str, as_of: int, after: int, part: int) -> str:
    """The event id of a part of a settlement, so that whoever works it out gives it the same."""
    return sha256(f"{appid}:settled:{as_of}:{after}:{part}".encode()).hexdigest()


def _all_moves(
    ledger: LedgerSums,
    expected: dict[tuple[Capability, int], dict[Place, dict[str, tuple[int, int]]]],
    corrected: CorrectedCalls,
    changed: frozenset[str],
) -> Iterable[Move]:
    """The moves of all groups of a capability, day and place."""
    present: dict[tuple[Capability, int], dict[Place, dict[str, int]]] = {}
    for group, number in ledger.calls.items():
        if number:
            places = present.setdefault((group.capability, group.day), {})
            places.setdefault((group.scene, group.store, group.env), {})[group.quota] = number
    for key, moved in corrected.items():
        for place, calls in moved.items():
            expected.setdefault(key, {}).setdefault(place, {})["corrected"] = calls
    for capability, day in sorted(expected.keys() | present.keys(), key=lambda key: (key[1], key[0])):
        before, after = present.get((capability, day), {}), expected.get((capability, day), {})
        for place in dict.fromkeys((*after, *before)):
            yield from _moves(capability, day, place, before.get(place, {}), after.get(place, {}), changed)


def _moves(
    capability: Capability,
    day: int,
    place: Place,
    before: Mapping[str, int],
    after: Mapping[str, tuple[int, int]],
    changed: frozenset[str],
) -> Iterable[Move]:
    """The moves within one group: `before` by quota, `after` with the time of a call."""
    differing = {_BEFORE + quota if quota in changed else quota: -number for quota, number in before.items()}
    for quota, (number, _) in after.items():
        differing[quota] = differing.get(quota, 0) + number
    if sum(differing.values()):
        raise LedgerMismatchError("the ledger and the facts of the app do not have the same calls")
    surplus = {quota: -number for quota, number in sorted(differing.items()) if number < 0}
    scene, store, env = place
    for target, missing in sorted(differing.items()):
        left = missing
        for source in [quota for quota, number in surplus.items() if number]:
            if left <= 0:
                break
            calls = min(left, surplus[source])
            surplus[source] -= calls
            left -= calls
            for from_, to, number in _directed(source, target, calls, changed):
                yield Move(
                    capability=capability,
                    from_=from_,
                    to=to,
                    calls=number,
                    time=moment(after[to][1] if to in after else shanghai_midnight(day * DAY_MS)),
                    scene=scene,
                    store=store,
                    env=env,
                )


def _directed(source: str, target: str, calls: int, changed: Set[str]) -> Iterable[tuple[str, str, int]]:
    """The moves, from, to and number, that bring calls from one quota to another.

    The terms of a pack before are only in the `from` of a move, and those after in its `to`. What is brought
    the other way, where following left fewer calls than none, is moved as a negative number.
    """
    is_backwards = target.startswith(_BEFORE) or source in changed
    if not is_backwards:
        return [(source.removeprefix(_BEFORE), target, calls)]
    if source.startswith(_BEFORE) or target in changed:
        sides = ((source, -calls), (target, calls))
        return [
            (side.removeprefix(_BEFORE), "uncovered", -number)
            if side.startswith(_BEFORE)
            else ("uncovered", side, number)
            for side, number in sides
        ]
    return [(target.removeprefix(_BEFORE), source, -calls)]


def _in_between(moves: list[Move]) -> list[Move]:
    """The moves, with negative ones amid those from the same quota: it holds neither too few nor too many."""
    ordered = [move for move in moves if move.calls > 0]
    for each in moves:
        if each.calls < 0:
            alike = [at for at, move in enumerate(ordered) if move.from_ == each.from_]
            ordered.insert(alike[len(alike) // 2] + 1 if alike else len(ordered), each)
    return ordered
