"""One run of the matrix: every producer that can be run, each record's outcome compared."""

import string
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from phonemeter.stack.stack import Stack
from tests.clients.outcomes import Reader, differences
from tests.clients.producers import Producer
from tests.program_builds import NotBuiltError


@dataclass(frozen=True, slots=True)
class Result:
    """The outcomes of a producer's records.

    Attributes:
        groups: per group the sentences about records that became something else; none is well.
        complaint: what the program itself said was wrong.
        left_out: why it was not run; empty if it was.
    """

    producer: Producer
    groups: dict[str, list[str]]
    complaint: str = ""
    left_out: str = ""

    @property
    def well(self) -> bool:
        """Return true if each group has its expected outcome; a producer that was left out has none."""
        return not self.complaint and not any(self.groups.values())


def new_run() -> str:
    """A short name that no run before had, without the digits that could be a phone number."""
    number, letters = time.time_ns() // 1_000_000, ""
    while number:
        number, digit = divmod(number, 26)
        letters += string.ascii_lowercase[digit]
    return letters


def run_matrix(producers: Iterable[Producer], stack: Stack, tell: Callable[[str], None]) -> list[Result]:
    """Run each against a stack that is ready."""
    reader = Reader(stack.endpoints.kafka, stack.endpoints.clickhouse_http)
    with tempfile.TemporaryDirectory(prefix="clients-") as directory:
        return [_run(producer, stack, reader, Path(directory), tell) for producer in producers]


def _run(
    producer: Producer, stack: Stack, reader: Reader, directory: Path, tell: Callable[[str], None]
) -> Result:
    missing = producer.missing()
    if missing:
        return Result(producer, {}, left_out=f"there is no {' and no '.join(missing)}")
    groups = producer.plan(new_run())
    tell(f"{producer.name} ...")
    try:
        complaint = producer.send(groups, stack.endpoints.kafka, directory)
    except NotBuiltError as error:
        return Result(producer, {}, left_out=str(error))
    found = reader.wait(groups)
    return Result(producer, differences(groups, found, stack.settings.partitions), complaint)
