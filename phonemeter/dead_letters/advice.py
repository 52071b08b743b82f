"""Advice on making a dead letter a valid event: one sentence, with the option to use if there is one."""

import difflib
import re
from typing import Any, Final

import msgspec

from metering.dead_letters import DeadLetter
from metering.events import EVENT_TYPES, VALUE_BYTES_MAX

_AT: Final = re.compile(r"([\w.]+): ")
_MISSING: Final = re.compile(r"(?:([\w.]+): o|O)bject missing required field `(\w+)`")
_TIME_FIELD: Final = re.compile(r"(data\.\w+|time) ")

_ADVICE: Final[dict[str, str]] = {
    "too_large": f"An event has at most {VALUE_BYTES_MAX:,} bytes: remove unknown fields "
    f"(retry --unset data.NAME, or --edit FILE).",
    "not_utf8": "The bytes are not UTF-8: write the event again as JSON in UTF-8 (retry --edit FILE).",
    "not_json": "An event is one JSON object: write it again (retry --edit FILE).",
    "doubled_key": "Decide which of the two is meant, and write the event again (retry --edit FILE).",
    "key_missing": "The event is valid: retry publishes it with its subject as the key.",
    "key_mismatch": "If the subject is the right app, retry publishes it with that as the key; if the key "
    "is the right app: retry --set subject=APPID.",
    "wrong_partition": "The event is valid: retry publishes it to the partition of its key, with the "
    "same id. Set the partitioner of its producer to murmur2 as well (docs/reference/events.md, Which "
    "partition).",
    "beyond_horizon": "Nothing in the event is wrong, but its id may have been counted and forgotten: retry "
    "counts it unless the ledger in ClickHouse has it.",
    "phone_number": "Leave the field out (retry --unset FIELD), or put a keyed hash of the user there "
    "(retry --set data.client=HASH). A store's own code of eleven digits is sent as code:NUMBER "
    "(retry --set data.store=code:NUMBER).",
}


def advice_for(letter: DeadLetter) -> str:
    """The advice on a letter."""
    if letter.reason == "unknown_type":
        return _type_advice(letter)
    if letter.reason == "time_out_of_range":
        match = _TIME_FIELD.match(letter.sentence)
        field = match[1] if match else "time"
        return (
            f"Correct the time (retry --set {field}=TIME); a time that was ahead of the broker's is "
            f"accepted from then on: retry it unchanged."
        )
    if letter.reason == "invalid_field":
        return _field_advice(letter)
    return _ADVICE.get(letter.reason, "Correct what the reason names (retry --set, --unset or --edit).")


def _field_advice(letter: DeadLetter) -> str:
    missing = _MISSING.match(letter.sentence)
    if missing:
        path = f"{missing[1]}.{missing[2]}" if missing[1] else missing[2]
        return f"Set the missing field: retry --set {path}=VALUE."
    at = _AT.match(letter.sentence)
    if at:
        return f"Correct the field: retry --set {at[1]}=VALUE."
    return "Correct the field that the reason names: retry --set PATH=VALUE."


def _type_advice(letter: DeadLetter) -> str:
    try:
        event: Any = msgspec.json.decode(letter.value or b"")
        given = str(event["type"])
    except (ValueError, RecursionError, TypeError, KeyError):
        given = ""
    near = difflib.get_close_matches(given[:100], EVENT_TYPES, n=1, cutoff=0.4)
    wanted = near[0] if near else "TYPE"
    return f"Use a known type: retry --set type={wanted}."
