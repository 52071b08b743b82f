"""Planted bugs of settlements and corrections (rules 8 and 15)."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from metering import corrected_facts, lateness, settlement
from metering.events import ChangedFields
from metering.settlement_changes import SettlementChanges
from metering.settlement_facts import CallFact, RefundFact
from metering.settling import SettlementRefusal, _Settlement
from tests.simulation.mutation import Mutation


def _nothing(*_arguments: object) -> tuple[()]:
    return ()


_mark = lateness.mark


def _in_any_turn(self: _Settlement) -> SettlementRefusal | None:
    return None if self._changes.fit() else "does_not_fit"


def _only_packs(*arguments: Any) -> None:  # noqa: ANN401 - those of the function that it replaces
    if arguments[2] != "late_call":
        _mark(*arguments)


_fit = SettlementChanges.fit


def _applied_whatever_fits(self: SettlementChanges) -> bool:
    _fit(self)
    return True


def _no_corrections(*_arguments: object) -> dict[str, Any]:
    return {}


_correct_refund = corrected_facts._refund
_other_terms = settlement._other_terms


def _with_void_calls(_self: object, calls: Iterable[CallFact]) -> Iterable[CallFact]:
    return calls


def _refund_as_told(fact: RefundFact, _changed: object) -> RefundFact:
    return _correct_refund(fact, ChangedFields()) or fact


def _at_the_old_price(*arguments: Any) -> Any:  # noqa: ANN401 - those of the function that it replaces
    present, expected, opened = arguments
    priced = {
        pack_id: each._replace(
            pack=msgspec.structs.replace(each.pack, price_micro_yuan=present[pack_id].pack.price_micro_yuan)
        )
        if pack_id in present
        else each
        for pack_id, each in expected.items()
    }
    return _other_terms(present, priced, opened)


def _from_the_mark(*_arguments: object) -> None:
    """Settle from the time that the app was marked with, however early the corrected facts are."""


_refusal = _Settlement.refusal


def _parts_in_any_turn(self: _Settlement) -> SettlementRefusal | None:
    return _in_any_turn(self) if self._data.part > 1 else _refusal(self)


OF_SETTLEMENTS: Final = (
    Mutation("a late call makes no app unsettled", "metering.lateness.mark", _only_packs),
    Mutation("a late pack makes no app unsettled", "metering.purchases.mark_late_purchase", _nothing),
    Mutation(
        "a settlement is applied whatever was settled before",
        "metering.settling._Settlement.refusal",
        _in_any_turn,
    ),
    Mutation(
        "what does not fit is applied",
        "metering.settlement_changes.SettlementChanges.fit",
        _applied_whatever_fits,
    ),
    Mutation("corrections change nothing", "metering.corrected_facts._holding", _no_corrections),
    Mutation(
        "a call that is void stays in its quota",
        "metering.corrected_facts.CorrectedFacts.calls",
        _with_void_calls,
    ),
    Mutation("a refund that is void stays", "metering.corrected_facts._refund", _refund_as_told),
    Mutation("a corrected pack keeps its price", "metering.settlement._other_terms", _at_the_old_price),
    Mutation(
        "a correction is settled from its own time on",
        "sinks.settler.work.earliest_change_ms",
        _from_the_mark,
    ),
    Mutation(
        "a correction that came before its fact is forgotten", "metering.partition.mark_corrected", _nothing
    ),
    Mutation(
        "a pack that is known stays though another purchase of it is earlier",
        "metering.purchases.mark_earlier_terms",
        _nothing,
    ),
    Mutation(
        "a part of a settlement is applied without those before it",
        "metering.settling._Settlement.refusal",
        _parts_in_any_turn,
    ),
    Mutation(
        "the ledger does not say that an app remains unsettled",
        "metering.settling.remain_unsettled",
        _nothing,
    ),
)
