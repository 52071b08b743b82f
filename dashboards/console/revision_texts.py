"""Texts of settlements, corrections and differences, in English and marked for translation."""

from collections.abc import Mapping
from typing import Final

from dashboards.console.languages import marked
from metering.agreement_causes import Cause

REVISION_NAMES: Final[Mapping[str, str]] = {
    "settlement": marked("Settlement"),
    "takeover": marked("Taken over by a pack that was recorded late"),
}

QUOTA_NAMES: Final[Mapping[str, str]] = {
    "charge": marked("Pack"),
    "trial_charge": marked("Trial quota"),
    "uncovered": marked("Uncovered"),
    "exempt": marked("Exempt"),
    "free": marked("Free, before charging began"),
    "lapse": marked("Lapsed"),
    "refund": marked("Refunded"),
    "purchase": marked("Bought"),
    "corrected": marked("Taken out by a correction"),
    "followed": marked("Booked to follow WeChat"),
}
"""By kind of the ledger's lines."""

LATE_REASONS: Final[Mapping[str, str]] = {
    "late_call": marked("calls arrived late"),
    "late_purchase": marked("a pack was recorded late"),
    "late_refund": marked("a refund was recorded late"),
    "late_registration": marked("the owner was recorded late"),
    "late_opening": marked("what was used before was recorded late"),
    "correction": marked("a fact was corrected"),
}

FACT_NAMES: Final[Mapping[str, str]] = {
    "call": marked("Call"),
    "purchase": marked("Purchase"),
    "refund": marked("Refund"),
    "registration": marked("Registration"),
    "correction": marked("Correction"),
}
"""By kind of the fact that is corrected; the others have none."""

CORRECTION_STATES: Final[Mapping[str, str]] = {
    "waiting": marked("waits for its fact"),
    "unsettled": marked("not in the figures yet"),
    "settled": marked("in the figures"),
    "refused": marked("not accepted"),
}

CAUSE_TEXTS: Final[Mapping[Cause, str]] = {
    "exchange_failed": marked("The code was refused at the exchange, after the call was charged"),
    "code_unused": marked("The code was never exchanged, after the call was charged"),
    "no_pack_here": marked("Taken from a pack that is not recorded here"),
    "not_charged_here": marked("Free or exempt here, charged at WeChat"),
    "lost_callback": marked("No event arrived here"),
    "before_log": marked("Used before the first event here"),
    "double_tap": marked("Tapped twice within 5 seconds"),
    "legacy": marked("Decrypted on the server, without a code"),
    "test_build": marked("From a development or trial build"),
    "lag": marked("Counted just before by one side, just after by the other"),
    "late_event": marked("Arrived here after WeChat had counted them"),
    "late_purchase": marked("Their pack was recorded late here"),
    "unexplained": marked("Nothing here explains them"),
}
