"""The outcome of every record that a producer sent: its line in ClickHouse, or its dead letter."""

import json
import re
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from kafka import KafkaConsumer, TopicPartition

from metering.dead_letters import DeadLetter, decode
from metering.placement import partition_of
from metering.topics import DEAD_LETTERS
from tests.clients.plan import METERED, NOTHING, WRONG_PARTITION, Group, Record, all_records
from tests.waiting import WITHIN_S

ASKED_EVERY_S: Final = 0.5
TOKEN: Final = re.compile(r"[\w-]+-\d+x")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a record: metered or the reason of its letter, and in which partition it was."""

    what: str
    partition: int


def differences(
    groups: Sequence[Group], found: Mapping[str, list[Outcome]], partitions: int
) -> dict[str, list[str]]:
    """Per group a sentence for each record that became something else than it must."""
    differing: dict[str, list[str]] = {group.name: [] for group in groups}
    for group, record in all_records(groups):
        sentence = _difference(group, record, found.get(record.token, []), partitions)
        if sentence:
            differing[group.name].append(sentence)
    return differing


def _difference(group: Group, record: Record, found: list[Outcome], partitions: int) -> str:
    said = " and ".join(f"{one.what} in partition {one.partition}" for one in found) or "nothing"
    if len(found) != (0 if record.want == NOTHING else 1):
        return f"{record.token}: {record.want} was expected, {said} became of it"
    if not found:
        return ""
    (outcome,) = found
    # Of a record without a key there is no right partition, and it has its reason already.
    astray = record.key is not None and outcome.partition != partition_of(record.key, partitions)
    if outcome.what == WRONG_PARTITION and astray and group.partitioner == "default":
        return ""
    if outcome.what != record.want or (astray and outcome.what == METERED):
        where = ", which is not where its key belongs" if astray else ""
        return f"{record.token}: {record.want} was expected, {said} became of it{where}"
    return ""


class Reader:
    """Looks for the outcomes of records in a running stack."""

    def __init__(self, kafka: str, clickhouse_http: str) -> None:
        self._kafka = kafka
        self._clickhouse = clickhouse_http

    def wait(self, groups: Sequence[Group], within_s: float = WITHIN_S) -> dict[str, list[Outcome]]:
        """Outcomes by token, as soon as every record that must have one has one, or when time is up."""
        awaited = {record.token for _, record in all_records(groups) if record.want != NOTHING}
        run = groups[0].records[0].token.rpartition("-")[0]
        deadline = time.monotonic() + within_s
        while True:
            found: dict[str, list[Outcome]] = {}
            for token, outcome in (*self._metered(run), *self._letters()):
                found.setdefault(token, []).append(outcome)
            if awaited <= found.keys() or time.monotonic() > deadline:
                return found
            time.sleep(ASKED_EVERY_S)

    def _metered(self, run: str) -> Iterator[tuple[str, Outcome]]:
        kinds = "('trial_charge', 'charge', 'uncovered', 'free')"
        asked = (
            f"SELECT event_id, source_partition FROM phonemeter.ledger WHERE kind IN {kinds} "  # noqa: S608 - our own
            f"AND startsWith(event_id, 'id-{run}-') FORMAT JSONCompactEachRow"
        )
        request = urllib.request.Request(self._clickhouse, data=asked.encode())  # noqa: S310 - the stack's own
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - the same
            for line in answer.read().decode().splitlines():
                event_id, partition = json.loads(line)
                yield event_id.removeprefix("id-"), Outcome(METERED, int(partition))

    def _letters(self) -> Iterator[tuple[str, Outcome]]:
        consumer = KafkaConsumer(bootstrap_servers=self._kafka, enable_auto_commit=False)
        try:
            parts = [
                TopicPartition(DEAD_LETTERS, number)
                for number in consumer.partitions_for_topic(DEAD_LETTERS) or ()
            ]
            ends = consumer.end_offsets(parts)
            consumer.assign(parts)
            consumer.seek_to_beginning(*parts)
            while any(consumer.position(part) < end for part, end in ends.items()):
                for records in consumer.poll(timeout_ms=200).values():
                    for record in records:
                        letter = decode(record.value)
                        for token in _tokens(letter):
                            yield token, Outcome(letter.reason, letter.partition)
        finally:
            consumer.close()


def _tokens(letter: DeadLetter) -> Iterator[str]:
    """The token of the record that a letter is about: of its event's id, else of its key."""
    event = re.search(rb'"id": ?"id-([\w-]+-\d+x)"', letter.value or b"")
    header = next((value for name, value in letter.headers if name == "ce_id" and value), b"")
    key = letter.key or b""
    for text in (event[1] if event else b"", header.removeprefix(b"id-"), key.removeprefix(b"wx-")):
        if TOKEN.fullmatch(text.decode(errors="replace")):
            yield text.decode()
            return
