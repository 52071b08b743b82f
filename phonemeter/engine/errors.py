"""Errors as ClickHouse clients know them: a number, a name and one sentence."""

import re
from typing import Final

NAMES: Final = {
    48: "NOT_IMPLEMENTED",
    62: "SYNTAX_ERROR",
    73: "UNKNOWN_FORMAT",
    101: "UNEXPECTED_PACKET_FROM_CLIENT",
    115: "UNKNOWN_SETTING",
    117: "INCORRECT_DATA",
    164: "READONLY",
    202: "TOO_MANY_SIMULTANEOUS_QUERIES",
    243: "NOT_ENOUGH_SPACE",
    271: "CANNOT_DECOMPRESS",
    307: "TOO_MANY_BYTES",
    372: "SESSION_NOT_FOUND",
    373: "SESSION_IS_LOCKED",
    439: "CANNOT_SCHEDULE_TASK",
    497: "ACCESS_DENIED",
    516: "AUTHENTICATION_FAILED",
    1001: "STD_EXCEPTION",
}
BAD_ARGUMENTS: Final = 36
SYNTAX: Final = 62
NOT_IMPLEMENTED: Final = 48
UNKNOWN_FORMAT: Final = 73
UNKNOWN_DATABASE: Final = 81
UNEXPECTED_PACKET: Final = 101
UNKNOWN_SETTING: Final = 115
INCORRECT_DATA: Final = 117
READONLY: Final = 164
TOO_MANY_QUERIES: Final = 202
NOT_ENOUGH_SPACE: Final = 243
CORRUPTED_DATA: Final = 246
CANNOT_DECOMPRESS: Final = 271
TOO_MANY_BYTES: Final = 307
SESSION_NOT_FOUND: Final = 372
SESSION_LOCKED: Final = 373
CANNOT_SCHEDULE: Final = 439
ACCESS_DENIED: Final = 497
AUTHENTICATION_FAILED: Final = 516

_ENGINE_TEXT: Final = re.compile(r"Code: (\d+)\. DB::Exception: (.*)", re.DOTALL)
_NAME_AT_END: Final = re.compile(r"\s*\(([A-Z][A-Z0-9_]+)\)\s*$")
_READING_A_PART: Final = re.compile(r"while reading (?:from )?part ", re.IGNORECASE)
_GRANT_MISSING: Final = re.compile(r"Not enough privileges\..* have the grant (.+?)\.?(?=$| \(Missing |: )")
_SPOOL_FILE: Final = re.compile(r"\(in file/uri /proc/self/fd/\d+\)(: While executing [^\n]*)?")


class EngineError(Exception):
    """A refusal or failure with its ClickHouse code; `sentence` is the text without code and name."""

    def __init__(self, code: int, sentence: str, name: str = "") -> None:
        self.code = code
        self.sentence = sentence
        self.name = name or NAMES.get(code, "STD_EXCEPTION")
        super().__init__(sentence)

    @property
    def is_damage(self) -> bool:
        """True if a part of a table is damaged, and not the data of a client."""
        return self.code == CORRUPTED_DATA and bool(_READING_A_PART.search(self.sentence))

    @property
    def native_text(self) -> str:
        """The message of a native Exception packet, as clickhouse-server words it."""
        return f"DB::Exception: {self.sentence} ({self.name})"

    @property
    def http_text(self) -> str:
        """The body of an HTTP error, as clickhouse-server words it."""
        return f"Code: {self.code}. DB::Exception: {self.sentence} ({self.name})"


def from_engine(text: str) -> EngineError:
    """Parse the text of an error that chDB raised."""
    match = _ENGINE_TEXT.match(text)
    if match is None:
        return EngineError(1001, text.strip() or "The engine failed without saying why.")
    code, sentence = int(match[1]), match[2]
    while nested := _ENGINE_TEXT.match(sentence):
        sentence = nested[2]
    name = _NAME_AT_END.search(sentence)
    if name is not None:
        sentence = sentence[: name.start()]
    missing = _GRANT_MISSING.search(sentence)
    if code == ACCESS_DENIED and missing is not None:
        sentence = (
            f"{missing[1]} is not granted here: statements reach the engine's own tables and nothing else."
        )
    return EngineError(code, _SPOOL_FILE.sub("", sentence).strip(), name[1] if name else "")
