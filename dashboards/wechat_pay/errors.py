"""Errors of payments by WeChat Pay; each message is one sentence without a secret."""

from typing import Literal

PayTrouble = Literal["unreachable", "busy", "untrusted", "refused"]
"""Kind of a failed request.

`unreachable`: no answer, or none of WeChat Pay's. `busy`: WeChat Pay asks to try again. `untrusted`: the
signature of the answer is not WeChat Pay's. `refused`: the request itself is not granted.
"""

NoticeFault = Literal[
    # Larger than a notice may be, or sent too slowly.
    "too_large",
    # A header of the signature is missing, or is none of WeChat Pay's.
    "unsigned",
    # Signed longer ago, or later from now, than five minutes.
    "stale",
    # Signed with a key that is not in the file of platform keys.
    "unknown_serial",
    # WeChat Pay tries with a false signature whether it is noticed.
    "signature_test",
    # The signature is not that of the body.
    "forged",
    # This very signature was taken before.
    "replayed",
    # The content can't be decrypted, or is no transaction or refund.
    "unreadable",
    # About a payment to another merchant, or in the name of another app.
    "other_merchant",
    "other_app",
    # In another currency, or not the amount of the order.
    "amount",
    # About an order that is not there.
    "unknown_order",
]
"""Reasons for which a notice is refused."""


class WechatPayFileError(Exception):
    """A file with a key of WeChat Pay can't be used."""


class WechatPayError(Exception):
    """WeChat Pay did not do what was asked.

    Args:
        trouble: kind of the failure.
        sentence: for people.
        code: WeChat Pay's own word for it; empty without one.
    """

    def __init__(self, trouble: PayTrouble, sentence: str, code: str = "") -> None:
        super().__init__(sentence)
        self.trouble: PayTrouble = trouble
        self.code = code


class NoticeRefusedError(Exception):
    """A notice is not taken.

    Args:
        fault: why.
    """

    def __init__(self, fault: NoticeFault) -> None:
        super().__init__(fault)
        self.fault: NoticeFault = fault
