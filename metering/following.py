"""Following the platform's count (rule 17): the policy of an app, and which settlements book a difference.

A settlement that follows moves calls between the quota `followed` and a pack or trial quota, at no scene,
store or build. It is a fact of its own, as no call says what it does: each names the one before by its event
id, whatever other settlements come in between.
"""

from typing import Final

from metering.accounts import Account
from metering.events import AgreementSet, Move, SettlementData
from metering.journal import Journal, details_json

FOLLOWED: Final = "followed"
"""The quota of the calls that were booked to follow the platform's count."""

_NOT_FOLLOWED: Final = frozenset({"uncovered", "exempt", "corrected", FOLLOWED})


def set_policy(account: Account, event: AgreementSet, time_ms: int, journal: Journal) -> None:
    """Set whether differences that stay are booked; what was booked before stays booked."""
    policy = event.data.policy
    account.follows = policy == "follow"
    journal.add(
        "agreement_set",
        time_ms,
        account.appid,
        event_id=event.id,
        source=event.source,
        details=details_json(policy=policy),
    )


def followed_quota(from_: str, to: str) -> str | None:
    """The quota whose count a move brings to the platform's; None for a move of another settlement."""
    if FOLLOWED not in {from_, to}:
        return None
    return to if from_ == FOLLOWED else from_


def is_following(data: SettlementData) -> bool:
    """Return whether a settlement is to follow the platform's count, by its own word or by a move."""
    return data.follows is not None or any(followed_quota(move.from_, move.to) for move in data.moves)


def only_follows(data: SettlementData) -> bool:
    """Return whether a settlement books what one that follows may, and nothing else."""
    others = (data.refunded, data.not_refunded, data.packs, data.removed, data.owner)
    is_alone = data.follows is not None and data.part == data.parts == 1 and not any(others)
    return is_alone and all(_is_followed(move) for move in data.moves)


def _is_followed(move: Move) -> bool:
    quota = followed_quota(move.from_, move.to)
    is_nowhere = not (move.scene or move.store or move.env)
    return quota is not None and quota not in _NOT_FOLLOWED and move.calls > 0 and is_nowhere
