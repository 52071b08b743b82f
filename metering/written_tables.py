"""Tables that a person wrote in TOML, read strictly: a mistake is one sentence with its place and remedy."""

import difflib
import tomllib
from collections.abc import Sequence
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

FILE_BYTES_MAX: Final = 1_000_000

T = TypeVar("T", bound=Struct)


class TableError(ValueError):
    """A mistake in such a file, in a sentence."""


def unreadable(path: object, reason: str | None, setting: str) -> str:
    """A sentence about a file that can't be read, which a setting names."""
    return (
        f"{path} can't be read ({reason}); write it, or set PHONEMETER_{setting.upper()} ({setting} in "
        f"phonemeter.toml) to where it is."
    )


def tables_of(where: object, text: bytes, names: Sequence[str], holds: str) -> dict[str, Any]:
    """The tables of a file, which has these names at most.

    Raises:
        TableError: it is too long, no TOML, or has others.
    """
    if len(text) > FILE_BYTES_MAX:
        raise TableError(f"{where} is longer than {FILE_BYTES_MAX:,} bytes; it is to hold {holds} only.")
    try:
        tables = tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TableError(f"{where} is not valid TOML: {error}; correct it there.") from None
    for key in tables:
        if key not in names:
            raise TableError(f"{where}: {key} is none of {', '.join(names)}; remove it, or correct its name.")
    return tables


def table_as(where: str, table: object, kind: type[T]) -> T:
    """A table as a struct.

    Raises:
        TableError: a key is unknown or missing, or has a value that it cannot have.
    """
    if isinstance(table, dict):
        known = [field.encode_name for field in msgspec.structs.fields(kind)]
        for key in table:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}."
                raise TableError(f"{where}.{key} is unknown; {hint}")
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        wrong, _, place = str(error).partition(" - at `$")
        key = place.removesuffix("`")
        raise TableError(f"{where}{key}: {wrong[0].lower()}{wrong[1:]}; correct it there.") from None
