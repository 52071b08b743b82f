"""Dead letters on the session's broker, made by the rules from records that no producer would send."""

from collections import defaultdict
from collections.abc import Sequence

import msgspec
from kafka import KafkaProducer

from kafka_access.access import KafkaAccess
from metering import dead_letters
from metering.content_modes import Headers
from metering.partition import meter
from metering.partition_state import PartitionState
from metering.placement import partition_of
from metering.records import Record
from metering.rules import Rules
from metering.topics import DEAD_LETTERS, EVENTS
from phonemeter.dead_letters.letter_log import LetterId
from phonemeter.topic_reader import open_reader
from tests.conftest import PARTITIONS
from tests.waiting import WITHIN_S

APP = "wxfb1f3d218d111092"
RULES = Rules()
PHONE = "13800138000"
HOME = partition_of(APP.encode(), PARTITIONS)
AWAY = (HOME + 1) % PARTITIONS


def tap(event_id: str = "tap-1", subject: str = APP, **data: object) -> dict[str, object]:
    """A succeeded authorization, which `data` may spoil."""
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": "/tests",
        "type": "phone.authorization.succeeded",
        "subject": subject,
        "time": "2024-06-01T10:00:00+08:00",
        "data": {"capability": "quick", **data},
    }


def encoded(event: object) -> bytes:
    return msgspec.json.encode(event)


def in_binary_mode(event: dict[str, object]) -> tuple[bytes, list[tuple[str, bytes]]]:
    """An event as value and headers, as SDKs write it by default."""
    attributes = [(f"ce_{name}", str(value).encode()) for name, value in event.items() if name != "data"]
    return encoded(event["data"]), [("content-type", b"application/json"), *attributes]


def letter(
    value: bytes | None, key: bytes | None = APP.encode(), headers: Headers = ()
) -> dead_letters.DeadLetter:
    """The letter that the rules make of one record."""
    metered = meter(PartitionState(2, 417), [Record(417, 1_790_000_000_000, key, value, headers)], Rules())
    return metered.dead_letters[0]


def held_letter(event: object | None = None) -> dead_letters.DeadLetter:
    """The letter of an event that is beyond the horizon."""
    return msgspec.structs.replace(
        letter(b"{"), reason="beyond_horizon", sentence="It may be old.", value=encoded(event or tap())
    )


def bury(
    kafka: str,
    records: Sequence[tuple[bytes | None, bytes | None]],
    partition: int = HOME,
    headers: Sequence[tuple[str, bytes]] = (),
) -> list[LetterId]:
    """Publish records (key and value) to `phone-events` and their letters to `phone-dead-letters`.

    The letters are published twice, as a worker does that was killed. Returns their names, in order.
    """
    producer = KafkaProducer(bootstrap_servers=kafka)
    try:
        sent = [
            producer.send(EVENTS, value, key, list(headers), partition).get(WITHIN_S)
            for key, value in records
        ]
        logs: defaultdict[int, list[Record]] = defaultdict(list)
        with open_reader(KafkaAccess(kafka)) as reader:
            for number, span in reader.spans(EVENTS).items():
                for batch in reader.batches(EVENTS, number, span):
                    logs[number] += batch
        letters = [
            one
            for number, log in logs.items()
            for one in meter(PartitionState(number, partitions=PARTITIONS), log, RULES).dead_letters
        ]
        for one in [*letters, *letters]:
            producer.send(DEAD_LETTERS, dead_letters.encode(one), partition=one.partition)
        producer.flush()
    finally:
        producer.close()
    return [LetterId(stored.partition, stored.offset) for stored in sent]
