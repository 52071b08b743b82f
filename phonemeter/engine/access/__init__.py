"""Configuration of chDB's own access control: `config.xml` and `users.xml`, and the database they rely on."""

import os
import uuid
from pathlib import Path
from typing import Final

CONFIG: Final = Path(__file__).parent / "config.xml"


def address(data: Path) -> str:
    """The connection string of chDB for `data` with this configuration."""
    return f"{data}?config-file={CONFIG}"


def make_default_database(data: Path) -> None:
    """Declare database `default` as an ordinary one, unless it is declared already.

    Tables of an earlier chDB are kept: the link of that name points to them.
    """
    metadata = data / "metadata"
    declared = metadata / "default.sql"
    # A loss of power may leave it empty, which chDB refuses.
    if declared.exists() and declared.stat().st_size:
        return
    metadata.mkdir(exist_ok=True)
    link = metadata / "default"
    name = link.readlink().name if link.is_symlink() else uuid.uuid4()
    part = declared.with_suffix(".part")
    with part.open("w") as file:
        file.write(f"ATTACH DATABASE _ UUID '{name}'\nENGINE = Atomic\n")
        file.flush()
        os.fsync(file.fileno())
    part.rename(declared)
