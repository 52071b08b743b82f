"""The directory of a backup: one at a time, a manifest in one step, and no file that it does not name."""

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from metering.log_identity import Mark
from phonemeter.backup.block_file import BlockWriter
from phonemeter.backup.directory import MANIFEST, UNFINISHED, BackupDirectory
from phonemeter.backup.manifest import FORMAT, Manifest, PartitionPart, TopicPart, decode, encode
from phonemeter.errors import UserError


def manifest(root: Path, number: int, *names: str) -> Manifest:
    """A manifest of small files, which it writes."""
    files = []
    for name in names:
        writer = BlockWriter(root, f"log/0/{name}.zst")
        writer.add([], 0)
        files.append(writer.finish())
    topic = TopicPart("id", (PartitionPart(0, 0, 0, Mark(), tuple(files)),))
    return Manifest(FORMAT, "0.1.0", number, 0, "cluster", 1, topics={"log": topic})


def files_of(root: Path) -> set[str]:
    return {path.stem for path in root.rglob("*.zst")}


def test_a_manifest_is_read_as_it_was_stored(tmp_path: Path) -> None:
    stored = manifest(tmp_path, 1, "a")
    assert decode(encode(stored), "it") == stored
    directory = BackupDirectory(tmp_path)
    directory.store(stored, whole=True)
    assert directory.manifest() == stored
    assert directory.latest() == stored


def test_a_later_backup_goes_on_from_an_unfinished_one_until_it_is_whole(tmp_path: Path) -> None:
    directory = BackupDirectory(tmp_path)
    directory.store(manifest(tmp_path, 1, "a", "old"), whole=True)
    unfinished = manifest(tmp_path, 2, "a", "b")
    directory.store(unfinished, whole=False)
    manifest(tmp_path, 2, "c")
    directory.remove_unnamed(directory.latest())
    assert files_of(tmp_path) == {"a", "old", "b"}
    assert directory.latest() == unfinished
    assert directory.manifest().number == 1

    directory.store(replace(unfinished, number=3), whole=True)
    assert directory.manifest().number == 3
    assert files_of(tmp_path) == {"a", "b"}
    assert not (tmp_path / UNFINISHED).exists()


def test_a_directory_without_a_whole_backup_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no whole backup, as manifest\.json is missing"):
        BackupDirectory(tmp_path).manifest()


def test_a_newer_format_is_refused_by_the_version_that_wrote_it(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(json.dumps({"format": FORMAT + 1, "phonemeter": "7.5", "new": []}))
    with pytest.raises(UserError, match=rf"has format {FORMAT + 1}, written by phonemeter 7\.5; this"):
        BackupDirectory(tmp_path).manifest()


def test_what_is_no_manifest_is_refused(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text("{}")
    with pytest.raises(UserError, match=r"manifest\.json is no manifest of a backup"):
        BackupDirectory(tmp_path).manifest()


def test_files_of_others_and_a_second_backup_at_the_same_time_are_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(UserError, match="is not empty and has no backup"), BackupDirectory(tmp_path).locked():
        pass
    directory = BackupDirectory(tmp_path / "new" / "one")
    with directory.locked():
        assert directory.path.stat().st_mode & 0o077 == 0
        with pytest.raises(UserError, match="Another backup is being taken into"), directory.locked():
            pass
    with directory.locked():
        pass
