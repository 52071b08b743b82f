"""The version of the program that runs, and the commit that it was built from."""

from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import Final, NamedTuple

REVISION_FILE: Final = "revision.txt"
"""Written by the build of the wheel."""

CHECKOUT: Final = "checkout"
"""The revision of a program that runs from its source."""


class Build(NamedTuple):
    """The version of the program, and the commit that it was built from."""

    version: str
    revision: str


@cache
def build() -> Build:
    """The build that runs."""
    written = files(__package__ or "http_service").joinpath(REVISION_FILE)
    revision = written.read_text(encoding="utf-8").strip() if written.is_file() else ""
    return Build(version("phonemeter"), revision or CHECKOUT)
