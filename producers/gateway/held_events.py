"""Events that name the hold with which their call was kept, in the field `hold` of their data."""

import re
from typing import Final

import msgspec

from metering.events import AnyEvent, Authorization, Succeeded
from metering.http_endpoints import HeldEvent

_FIELD: Final = b'"hold"'
_ID: Final = re.compile(r"[0-9a-f]{24}")


class _HeldData(msgspec.Struct):
    hold: str = ""


class _WithHold(msgspec.Struct):
    data: _HeldData


_decoder: Final = msgspec.json.Decoder(_WithHold)


def held_event(event: AnyEvent, value: bytes) -> HeldEvent | None:
    """The hold that an authorization names; None if it names none, or what is no id of a hold.

    The stream ignores the field: the hold has ended by then.
    """
    # Nearly all events have none, and are not read a second time.
    if _FIELD not in value or not isinstance(event, Authorization):
        return None
    try:
        hold_id = _decoder.decode(value).data.hold
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if not _ID.fullmatch(hold_id):
        return None
    return HeldEvent(event.subject, hold_id, event.id, isinstance(event, Succeeded))
