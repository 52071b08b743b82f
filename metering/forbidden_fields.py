"""Field names for a person's phone number, openid or session, which are forbidden whatever they hold."""

import re
from functools import lru_cache
from typing import Final

import msgspec

FORBIDDEN_WORDS: Final = frozenset({"phone", "telephone", "cellphone", "mobile", "tel"})
"""Words that may not be a field's name or the last word of it."""

FORBIDDEN_PARTS: Final = (
    "phonenum",
    "phoneno",
    "mobilenum",
    "mobileno",
    "mobilephone",
    "openid",
    "unionid",
    "sessionkey",
    "accesstoken",
    "手机号",
    "电话",
)
"""Parts that no name may contain, compared without case, spaces, hyphens and underscores."""

_WORD: Final = re.compile(r"[A-Z]?[^\W\d_A-Z]+|[A-Z]+(?![^\W\d_A-Z])")
"""A word of a name, in camel case or separated."""


@lru_cache(maxsize=1_024)
def is_forbidden_field(name: str) -> bool:
    """Return whether a field name is forbidden in events."""
    words = _WORD.findall(name)
    together = "".join(words).lower()
    return (
        together in FORBIDDEN_WORDS
        or (words != [] and words[-1].lower() in FORBIDDEN_WORDS)
        or any(part in together for part in FORBIDDEN_PARTS)
    )


def forbidden_field_in(value: bytes) -> str | None:
    """The path of a field with a forbidden name, at any depth of a JSON text; None without one."""
    try:
        waiting: list[tuple[str, object]] = [("", msgspec.json.decode(value))]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # Invalid JSON is rejected elsewhere; every parser skips so deep a nesting.
        return None
    while waiting:
        path, fields = waiting.pop()
        if isinstance(fields, dict):
            for name, field in fields.items():
                place = f"{path}.{name}" if path else name
                if is_forbidden_field(name):
                    return place
                waiting.append((place, field))
        elif isinstance(fields, list):
            waiting.extend((f"{path}[{index}]", item) for index, item in enumerate(fields))
    return None
