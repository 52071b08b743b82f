"""Identifiers of persons in texts: phone numbers and openids.

docs/reference/events.md lists what is found. Hashes, IP addresses and times contain runs of digits too and
are passed over.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Final, Literal
from unicodedata import category, digit, normalize, numeric

PHONE_NUMBER_DIGITS: Final = 11
"""Of a Chinese mobile number."""

HASH_CHARACTERS_MIN: Final = 16
"""Length from which on hexadecimal digits with a letter among them are a hash."""

OPENID_CHARACTERS: Final = 28

NUMBER_DIGITS_MIN: Final = 9
"""Of a phone number with country code."""

CLIENT_CHARACTERS: Final = "letters, digits and -_.:=+/ of ASCII"

STORE_CODE_PREFIX: Final = "code:"
"""Prefix of a store's code of eleven digits, which marks it as no phone number."""

PLATFORM_NAMES: Final = frozenset({"pack_id", "order_id"})
"""Identifiers that the platform issues, in which eleven digits are no phone number."""

IDENTIFIER_ADVICE: Final = "leave it out, or send a keyed hash of the user as data.client"
STORE_ADVICE: Final = f"; a code of the store that is no phone number is sent as {STORE_CODE_PREFIX}NUMBER"

_ALWAYS_NEW: Final = frozenset({"id", "data.client"})
"""Fields that are not cached, as their values hardly ever recur."""

Kind = Literal["a phone number", "an openid"]

_INVISIBLE: Final = "\u200b"
_UUID: Final = re.compile(r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}")
_BETWEEN: Final = r"[\W_]{0,3}"
_DATE: Final = r"(?:19|20)[0-9]{2}(?P<dash>[-/.])(?:0[1-9]|1[0-2])(?P=dash)(?:0[1-9]|[12][0-9]|3[01])"
_TIME: Final = (
    r"(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:[.,][0-9]{1,9})?)?(?:[+-][01][0-9]:[0-5]0)?(?![0-9])"
)
_PASSED_OVER: Final = "|".join(
    (
        # A hash. Each of its characters must be examined once only, wherever the search begins.
        rf"(?<![0-9A-Fa-f])(?![0-9]+(?![0-9A-Fa-f]))[0-9A-Fa-f]{{{HASH_CHARACTERS_MIN},}}",
        rf"(?<![0-9A-Za-z]){_UUID.pattern}(?![0-9A-Za-z])",
        # An IPv4 address: no part has a leading zero.
        r"(?<![0-9.])(?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(?:\.(?=[0-9])|(?![0-9.]))){4}",
        # A date, perhaps with a time; a time.
        rf"(?<![0-9]){_DATE}(?![0-9])(?:[T _]{_TIME})?",
        rf"(?<![0-9]){_TIME}",
        # Seconds since 1970, and a counter behind them.
        rf"(?<![0-9])1[0-9]{{9}}[^\w{_INVISIBLE}]{{1,3}}[0-9](?![0-9])",
    )
)
_PHONE_NUMBER: Final = (
    rf"(?<![0-9])(?:(?:0{_BETWEEN}0{_BETWEEN})?8{_BETWEEN}6{_BETWEEN}|0{_BETWEEN})?"
    rf"1{_BETWEEN}[3-9](?:{_BETWEEN}[0-9]){{9}}(?![0-9])"
    rf"|(?<![0-9A-Za-z])\+{_BETWEEN}[1-9](?:{_BETWEEN}[0-9]){{8,14}}(?![0-9])"
)
_OPENID: Final = (
    r"o(?<![0-9A-Za-z_-]o)(?=[0-9a-z_-]*[A-Z])(?=[0-9A-Z_-]*[a-z])[0-9A-Za-z_-]{27,28}(?![0-9A-Za-z_-])"
)
_SEARCH: Final = re.compile(f"(?:{_PASSED_OVER})|(?P<phone>{_PHONE_NUMBER})|(?P<openid>{_OPENID})")
_PREFILTERS: Final = tuple(
    re.compile(pattern, re.ASCII)
    for pattern in (
        rf"1{_BETWEEN}[3-9](?:{_BETWEEN}[0-9]){{9}}(?![0-9])",
        rf"\+{_BETWEEN}[1-9](?:{_BETWEEN}[0-9]){{8}}",
        _OPENID,
    )
)
"""One matches every ASCII text with an identifier, and hardly any other.

Each begins with a fixed character, which is fast to search for.
"""

_SEPARATOR: Final = "\0z\0"
"""Separator of texts that are searched together: the letter ends a number, and the NUL a word."""

_CLIENT: Final = re.compile(r"[0-9A-Za-z_.:=+/-]*")
_PLATFORM_ID: Final = re.compile(r"[0-9A-Za-z_-]*")
_STORE_CODE: Final = re.compile(rf"{STORE_CODE_PREFIX}[0-9]{{{PHONE_NUMBER_DIGITS}}}")


def are_hashes(texts: Iterable[str]) -> bool:
    """Return whether all texts but the empty ones are hashes, as ids and clients mostly are."""
    hashes = list(filter(None, texts))
    joined = "".join(hashes)
    try:
        # `fromhex` accepts spaces between bytes.
        return (
            2 * len(bytes.fromhex(joined)) == len(joined)
            and min(map(len, hashes), default=HASH_CHARACTERS_MIN) >= HASH_CHARACTERS_MIN
        )
    except ValueError:
        return False


def find_identifier(text: str) -> Kind | None:
    """The kind of the first identifier in a text; None without one."""
    if len(text) <= NUMBER_DIGITS_MIN:
        return None
    if text.isascii():
        for prefilter in _PREFILTERS:
            if prefilter.search(text) is not None:
                break
        else:
            return None
    elif ("o" not in text or len(text) < OPENID_CHARACTERS) and (
        sum(map(str.isnumeric, text)) < NUMBER_DIGITS_MIN
    ):
        return None
    return next((kind for _, _, kind in _found(text)), None)


find_identifier_cached: Final = lru_cache(maxsize=4_096)(find_identifier)
"""As `find_identifier`, cached, for recurring texts: sources, scenes, stores."""


def texts_with_identifiers(texts: Sequence[str]) -> set[int]:
    """The indexes of texts with identifiers, in a fraction of the time of single searches."""
    if are_hashes(texts):
        return set()
    joined = _SEPARATOR.join(texts)
    if not joined.isascii() or joined.count("\0") > 2 * len(texts) - 2:
        return {number for number, text in enumerate(texts) if find_identifier(text) is not None}
    candidates = {
        joined.count("\0", 0, match.start()) // 2
        for pattern in _PREFILTERS
        for match in pattern.finditer(joined)
    }
    return {number for number in candidates if find_identifier(texts[number]) is not None}


def identifier_problem(path: str, text: str) -> str | None:
    """The reason that a field may not hold a text, in a sentence without the text; None if it may.

    The last name of `path`, such as `data.store`, decides about exceptions.
    """
    found = (find_identifier if path in _ALWAYS_NEW else find_identifier_cached)(text)
    if found is None:
        return None
    name = path.rpartition(".")[2]
    if found == "a phone number" and name in PLATFORM_NAMES and _PLATFORM_ID.fullmatch(text):
        return None
    if name == "store" and is_store_code(text):
        return None
    more = STORE_ADVICE if name == "store" else ""
    return f"{path} holds what looks like {found}; {IDENTIFIER_ADVICE}{more}."


def is_client(text: str) -> bool:
    """Return whether a text has only the characters of a `client`, as every hash has."""
    return _CLIENT.fullmatch(text) is not None


def is_store_code(text: str) -> bool:
    """Return whether a text is a store's code of eleven digits with its prefix."""
    return _STORE_CODE.fullmatch(text) is not None


def mask_identifiers(text: str, mask: str = "*") -> str:
    """A text with the letters and digits of its identifiers replaced."""
    shown = list(text)
    for begin, end, _ in _found(text):
        for place in range(begin, end):
            if shown[place].isalnum():
                shown[place] = mask
    return "".join(shown)


def mask_digits(text: str, mask: str) -> str:
    """A text with all digits replaced, of any script."""
    return "".join(mask if _folded(_folded_numeral(one)).isdecimal() else one for one in text)


def _found(text: str) -> Iterator[tuple[int, int, Kind]]:
    if text.isascii():
        yield from _found_in(text)
        return
    yield from _found_in("".join(map(_folded, text)))
    numerals = "".join(map(_folded_numeral, text))
    # Numerals may also be parts of words right before a number, so the text is searched both ways.
    if numerals != text:
        yield from _found_in("".join(map(_folded, numerals)))


def _found_in(text: str) -> Iterator[tuple[int, int, Kind]]:
    for match in _SEARCH.finditer(text):
        if match["phone"] is not None:
            yield *match.span(), "a phone number"
        elif match["openid"] is not None:
            yield *match.span(), "an openid"


@lru_cache(maxsize=4_096)
def _folded(character: str) -> str:
    """Fold a character to one: a digit of any script to ASCII, an invisible one to `_INVISIBLE`."""
    if character.isascii():
        return character
    value = digit(character, None)
    if value is not None:
        return str(value)
    if category(character) in {"Cf", "Mn", "Me"}:
        return _INVISIBLE
    compatible = normalize("NFKC", character)
    return compatible if len(compatible) == 1 else character


@lru_cache(maxsize=4_096)
def _folded_numeral(character: str) -> str:
    """Fold a numeral that is no digit, such as a Chinese one, to a digit."""
    value = numeric(character, None)
    return str(int(value)) if value is not None and value in range(10) else character
