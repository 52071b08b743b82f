"""The mutants that survive rightly: they change nothing that anybody could notice. Each has its reason."""

from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from tests.mutants.making import Mutant

FILE: Final = Path(__file__).parent / "survivors.toml"


class Listed(Struct, frozen=True, forbid_unknown_fields=True):
    """A mutant that may survive, by the line that it changes, and why."""

    path: str
    before: str
    after: str
    why: str


class _File(Struct, forbid_unknown_fields=True):
    survivor: list[Listed]


def listed() -> list[Listed]:
    """All of the file."""
    return msgspec.toml.decode(FILE.read_bytes(), type=_File).survivor


def is_listed(mutant: Mutant, among: list[Listed]) -> bool:
    """Return true if a mutant may survive."""
    return (mutant.path, mutant.before, mutant.after) in {(one.path, one.before, one.after) for one in among}


def as_entry(mutant: Mutant) -> str:
    """The file's entry of a mutant, without the reason."""
    fields = {"path": mutant.path, "before": mutant.before, "after": mutant.after, "why": ""}
    lines = [f"{name} = {msgspec.json.encode(text).decode()}\n" for name, text in fields.items()]
    return "".join(("[[survivor]]\n", *lines))
