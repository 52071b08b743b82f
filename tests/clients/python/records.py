"""Groups of records, sent by a Kafka client of Python: `records.py CLIENT ADDRESS FILE`."""

import asyncio
import base64
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer
from confluent_kafka import Producer
from kafka import KafkaProducer

TOPIC = "phone-events"
BYTES_MAX = 10_000_000
TIMEOUT_S = 30


def groups(file: str) -> Iterator[dict[str, Any]]:
    """The groups of a file, their bytes decoded."""
    for line in Path(file).read_text(encoding="utf-8").splitlines():
        group = json.loads(line)
        for record in group["records"]:
            for name in ("key", "value"):
                record[name] = decoded(record[name])
            record["headers"] = [(name, decoded(value)) for name, value in record["headers"]]
        yield group


def decoded(text: str | None) -> bytes | None:
    """Bytes of base64, and null of null."""
    return None if text is None else base64.b64decode(text)


def kafka_python(address: str, group: dict[str, Any]) -> None:
    """With kafka-python, whose own partitioner is Java's."""
    options: dict[str, Any] = {"bootstrap_servers": address, "max_request_size": BYTES_MAX, "linger_ms": 100}
    if group["codec"] != "none":
        options["compression_type"] = group["codec"]
    if group["idempotent"]:
        options["enable_idempotence"] = True
    if group["transaction"]:
        options["transactional_id"] = f"kafka-python-{time.time_ns()}"
    producer = KafkaProducer(**options)
    if group["transaction"]:
        producer.init_transactions()
        producer.begin_transaction()
    sent = [
        producer.send(
            TOPIC,
            key=record["key"],
            value=record["value"],
            headers=record["headers"],
            timestamp_ms=record["timestamp"],
        )
        for record in group["records"]
    ]
    for one in sent:
        one.get(TIMEOUT_S)
    if group["transaction"]:
        producer.commit_transaction() if group["transaction"] == "commit" else producer.abort_transaction()
    producer.close()


def aiokafka(address: str, group: dict[str, Any]) -> None:
    """With aiokafka, whose own partitioner is Java's."""
    asyncio.run(_aiokafka(address, group))


async def _aiokafka(address: str, group: dict[str, Any]) -> None:
    options: dict[str, Any] = {
        "compression_type": None if group["codec"] == "none" else group["codec"],
        "enable_idempotence": group["idempotent"],
        "max_request_size": BYTES_MAX,
        "linger_ms": 100,
    }
    if group["transaction"]:
        options |= {"transactional_id": f"aiokafka-{time.time_ns()}", "enable_idempotence": True}
    producer = AIOKafkaProducer(bootstrap_servers=address, **options)
    await producer.start()
    if group["transaction"]:
        await producer.begin_transaction()
    sent = [
        await producer.send(
            TOPIC,
            key=record["key"],
            value=record["value"],
            headers=record["headers"],
            timestamp_ms=record["timestamp"],
        )
        for record in group["records"]
    ]
    await asyncio.gather(*sent)
    if group["transaction"]:
        await (
            producer.commit_transaction()
            if group["transaction"] == "commit"
            else producer.abort_transaction()
        )
    await producer.stop()


def confluent_kafka(address: str, group: dict[str, Any]) -> None:
    """With confluent-kafka, which is librdkafka: its own partitioner is CRC32."""
    options: dict[str, Any] = {
        "bootstrap.servers": address,
        "compression.type": group["codec"],
        "enable.idempotence": group["idempotent"],
        "message.max.bytes": BYTES_MAX,
    }
    if group["partitioner"] == "murmur2":
        options["partitioner"] = "murmur2_random"
    if group["transaction"]:
        options["transactional.id"] = f"confluent-{time.time_ns()}"
        options["enable.idempotence"] = True
    refused: list[str] = []
    producer = Producer(options)
    if group["transaction"]:
        producer.init_transactions(TIMEOUT_S)
        producer.begin_transaction()
    for record in group["records"]:
        producer.produce(
            TOPIC,
            key=record["key"],
            value=record["value"],
            headers=record["headers"],
            timestamp=record["timestamp"] or 0,
            on_delivery=lambda error, _: refused.append(str(error)) if error else None,
        )
    producer.flush(TIMEOUT_S)
    if group["transaction"] == "commit":
        producer.commit_transaction(TIMEOUT_S)
    elif group["transaction"] == "abort":
        producer.abort_transaction(TIMEOUT_S)
    if refused:
        raise RuntimeError(refused[0])


CLIENTS = {"kafka-python": kafka_python, "aiokafka": aiokafka, "confluent-kafka": confluent_kafka}

if __name__ == "__main__":
    send, address = CLIENTS[sys.argv[1]], sys.argv[2]
    for each in groups(sys.argv[3]):
        try:
            send(address, each)
        except Exception as error:  # noqa: BLE001 - one group must not hide the next
            sys.stderr.write(f"{each['name']}: {type(error).__name__}: {error}\n")
