"""The manifest of a backup: its files and facts. What it does not name does not belong to the backup."""

from typing import Final

import msgspec
from msgspec import Struct, field

from metering.log_identity import Mark
from metering.rules import Terms
from phonemeter.backup.block_file import FilePart
from phonemeter.errors import UserError

FORMAT: Final = 1
"""The format of the manifest and of the files."""


class PartitionPart(Struct, frozen=True):
    """A partition of a topic: the offsets from `begin` to before `end`.

    Attributes:
        mark: of the newest record that was copied.
    """

    partition: int
    begin: int
    end: int
    mark: Mark
    files: tuple[FilePart, ...] = ()


class TopicPart(Struct, frozen=True):
    """A topic: its id, and its partitions in order."""

    topic_id: str
    partitions: tuple[PartitionPart, ...]

    @property
    def records(self) -> int:
        """The number of records in its files."""
        return sum(file.records for part in self.partitions for file in part.files)


class MeteredPart(Struct, frozen=True):
    """The offset up to which a partition of the log was metered, and the terms."""

    next_offset: int
    terms: Terms


class CommittedOffset(Struct, frozen=True):
    """An offset that a consumer group has committed, with its metadata."""

    group: str
    topic: str
    partition: int
    offset: int
    metadata: str


class BusinessPart(Struct, frozen=True):
    """The business database: its migration, its rows in a file, and the SHA-256 of the rows."""

    migration: str
    rows_sha256: str
    file: FilePart


class Manifest(Struct, frozen=True):
    """The contents of a backup.

    Attributes:
        format: of the backup.
        phonemeter: version of the program that wrote it.
        number: counts the backups into the directory, from 1.
        taken_at_ms: time at which the newest offsets were read.
        cluster: id of the Kafka cluster.
        partitions: of each topic.
        metered: by partition, how far the state has metered the log, and by which terms.
        topics: by name.
        offsets: of consumer groups.
        business: the business database; None if there was none.
        left_out: settings that name files which are not in the backup, with the files.
    """

    format: int
    phonemeter: str
    number: int
    taken_at_ms: int
    cluster: str
    partitions: int
    metered: dict[int, MeteredPart] = field(default_factory=dict)
    topics: dict[str, TopicPart] = field(default_factory=dict)
    offsets: tuple[CommittedOffset, ...] = ()
    business: BusinessPart | None = None
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def files(self) -> list[FilePart]:
        """Every file of the backup."""
        found = [file for topic in self.topics.values() for part in topic.partitions for file in part.files]
        return [*found, self.business.file] if self.business is not None else found


class _Versioned(Struct, frozen=True):
    format: int
    phonemeter: str = "another version"


def encode(manifest: Manifest) -> bytes:
    """The manifest as JSON for people and programs."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1)


def decode(stored: bytes, shown: str) -> Manifest:
    """Read a manifest; `shown` names its file in sentences.

    Raises:
        UserError: it is none, or of a newer version.
    """
    try:
        found = msgspec.json.decode(stored, type=_Versioned)
        if found.format > FORMAT:
            raise UserError(
                f"The backup {shown} has format {found.format}, written by phonemeter {found.phonemeter}; "
                f"this version reads formats up to {FORMAT}: upgrade phonemeter."
            )
        return msgspec.json.decode(stored, type=Manifest)
    except msgspec.MsgspecError as error:
        raise UserError(f"The file {shown} is no manifest of a backup: {error}.") from None
