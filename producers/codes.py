"""The `code` of a tap, which its id is made of: without one, all taps of an app would be one (rule 2)."""

import hashlib
from functools import lru_cache
from typing import Final

from metering.rejections import Rejection

NO_CODES: Final = ("", "None", "null", "undefined")
"""The texts that a missing code becomes, in the languages that back ends are written in."""


def id_of(appid: str, code: str) -> str:
    """The SHA-256 of app and code, whatever the code is."""
    return hashlib.sha256(f"{appid}:{code}".encode()).hexdigest()


def refusal_of_code(code: object) -> Rejection | None:
    """Return the rejection of a missing code; None for a code."""
    if isinstance(code, str) and code.strip() and code not in NO_CODES:
        return None
    return Rejection(
        "invalid_field",
        f"code is {code!r:.40}, and all taps without a code would be one call; give the code that the "
        "component's success callback gave.",
    )


def refusal_of_id(appid: str, identifier: str) -> Rejection | None:
    """Return the rejection of an id that was made of a missing code; None for others."""
    if identifier not in _ids_of_no_code(appid):
        return None
    return Rejection(
        "invalid_field",
        "id: it was made of a code that is empty, None, null or undefined, and all such taps would be one "
        "call; make it of the code that the component's success callback gave.",
    )


@lru_cache(maxsize=4_096)
def _ids_of_no_code(appid: str) -> frozenset[str]:
    return frozenset(id_of(appid, code) for code in NO_CODES)
