"""Rejections: what a record is refused for, in a word and in a sentence."""

from typing import Literal, NamedTuple

RejectionReason = Literal[
    "too_large",
    "not_utf8",
    "not_json",
    "unknown_type",
    "invalid_field",
    "time_out_of_range",
    "key_missing",
    "key_mismatch",
    "phone_number",
    "wrong_partition",
    "doubled_key",
    "beyond_horizon",
]


class Rejection(NamedTuple):
    """The rejection of a record that is not metered as an event: a `reason` in one word and a `sentence`.

    `source` is set if the event is right but its producer is not.
    """

    reason: RejectionReason
    sentence: str
    source: str = ""
