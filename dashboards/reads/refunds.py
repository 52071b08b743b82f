"""The answer of the ledger to a request for the refund of a pack."""

from typing import Final

from msgspec import Struct

from dashboards.reads.asking import Ask

_ANSWER: Final = """
SELECT kind, reason FROM ledger
WHERE appid = %(appid)s AND pack_id = %(pack_id)s AND kind IN ('refund', 'refund_refused')
    AND toUnixTimestamp64Milli(time) = %(asked_at_ms)s AND calls >= 0
ORDER BY source_offset, line
LIMIT 1
"""


class RefundAnswer(Struct, frozen=True):
    """The outcome of a request: `refusal` is a reason of rule 10, or empty if the pack was given back."""

    refusal: str


def read_refund_answer(ask: Ask, appid: str, pack_id: str, asked_at_ms: int) -> RefundAnswer | None:
    """The answer to the request of a time; None while the ledger has none."""
    found = ask(_ANSWER, {"appid": appid, "pack_id": pack_id, "asked_at_ms": asked_at_ms})
    if not found:
        return None
    kind, reason = found[0]
    return RefundAnswer(reason if kind == "refund_refused" else "")
