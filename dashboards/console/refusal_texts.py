"""Reasons for which calls were not covered or not granted, in words of owners."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from dashboards.console.languages import marked
from dashboards.reads.refusals import RefusalCount

QUOTA_EXHAUSTED: Final = 1_400_001


class RefusalText(NamedTuple):
    """An event in words, and its meaning or what to do; both in English, marked for translation."""

    what: str
    meaning: str


UNCOVERED: Final[Mapping[str, RefusalText]] = {
    "no_pack": RefusalText(
        marked("No pack and no trial quota"),
        marked("WeChat granted the call, but no pack was recorded here for its time. Record the purchase."),
    ),
    "exhausted": RefusalText(
        marked("All quota was used up"),
        marked(
            "WeChat granted the call after the calls recorded here had ended. Record the pack bought since."
        ),
    ),
    "too_late": RefusalText(
        marked("The event came too late"),
        marked("The pack of its time had lapsed when it arrived. Its back end kept the event too long."),
    ),
    "settled": RefusalText(
        marked("Uncovered after a settlement"),
        marked("A fact that came late, such as a refund, took the quota from these calls."),
    ),
}

DENIED: Final = RefusalText(
    marked("Denied by the user"), marked("The dialog was closed without choosing a number. Costs nothing.")
)
REFUSED: Final = RefusalText(
    marked("Refused by WeChat: no quota"),
    marked("The user could not sign up. Buy a pack, or check whether it has started."),
)
FAILED: Final = RefusalText(marked("Failed"), marked("The component reported an error. Costs nothing."))


def refusal_text(refusal: RefusalCount) -> RefusalText:
    """The text for a refusal."""
    if refusal.kind == "uncovered":
        return UNCOVERED.get(refusal.reason, UNCOVERED["no_pack"])
    if refusal.kind == "denied":
        return DENIED
    return REFUSED if refusal.errno == QUOTA_EXHAUSTED else FAILED
