"""Dead letters on the session's broker, made by the rules from records that no producer would send."""

from collections import defaultdict
from collections.abc import Sequence

import msgspec
from kafka import KafkaProducer

from metering import dead_letters
from metering.partition import PartitionState, Record, meter
from metering.rules import Rules
from metering.topics import DEAD_LETTERS, EVENTS
from phonemeter.dead_letters.letters import Identity
from phonemeter.replay.reading import reading

APP = "wxfb1f3d218d111092"
PHONE = "13800138000"


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


def letter(value: bytes | None, key: bytes | None = APP.encode()) -> dead_letters.DeadLetter:
    """The letter that the rules make of one record."""
    metered = meter(PartitionState(2, 417), [Record(417, 1_790_000_000_000, key, value)], Rules())
    return metered.dead_letters[0]


def bury(kafka: str, records: Sequence[tuple[bytes | None, bytes | None]]) -> list[Identity]:
    """Publish records (key and value) to `phone-events` and their letters to `phone-dead-letters`.

    The letters are published twice, as a worker does that was killed. Returns their names, in order.
    """
    producer = KafkaProducer(bootstrap_servers=kafka)
    try:
        sent = [producer.send(EVENTS, key=key, value=value, partition=1).get(10) for key, value in records]
        logs: defaultdict[int, list[Record]] = defaultdict(list)
        with reading(kafka) as reader:
            for partition, span in reader.spans(EVENTS).items():
                for batch in reader.batches(EVENTS, partition, span):
                    logs[partition] += [Record(r.offset, r.timestamp, r.key, r.value) for r in batch]
        letters = [
            one
            for partition, log in logs.items()
            for one in meter(PartitionState(partition), log, Rules()).dead_letters
        ]
        for one in [*letters, *letters]:
            producer.send(DEAD_LETTERS, dead_letters.encode(one), partition=one.partition)
        producer.flush()
    finally:
        producer.close()
    return [Identity(stored.partition, stored.offset) for stored in sent]
