"""Errors of the console's stores, which its pages turn into sentences."""

from typing import Literal

Refused = Literal[
    # The member, key, link or owner is not there, or not this owner's.
    "not_there",
    # The e-mail address signs in for another owner already.
    "email_taken",
    # The change would leave an owner without a member in the role owner.
    "last_owner",
    # The member signs in for other owners too, so that one of them alone can't give a new password.
    "several_owners",
    # The role operator, and the passwords of those who have it, are given by who runs phonemeter.
    "operator",
    # There are as many as there may be.
    "too_many",
    # The owner has a recipient with this target already.
    "known_recipient",
    # Nothing can be sent to the recipient: no mail server is set up.
    "no_mail_server",
    # The key is revoked or expired.
    "key_ended",
    # The order is not in a state that allows it.
    "wrong_state",
    # A fact of the same id was recorded before.
    "known_fact",
    # The money of an order goes back, or has gone back.
    "order_refunded",
    # The order is on an invoice that holds.
    "invoiced_already",
    # There is no paid order to invoice.
    "nothing_to_invoice",
    # The sum is no whole number of fen.
    "no_whole_fen",
]


class RefusedChangeError(Exception):
    """A store refuses a change.

    Args:
        reason: why.
    """

    def __init__(self, reason: Refused) -> None:
        super().__init__(reason)
        self.reason: Refused = reason


class RecordsUnavailableError(Exception):
    """The business database does not answer."""
