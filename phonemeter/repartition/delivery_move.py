"""Deliveries of alerts, carried over to topics where the alerts have other ids.

The old deliveries are read as a notifier reads them, and what is valid is published anew. To publish it twice
changes nothing, so a move that was broken off begins again.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from kafka_access.access import KafkaAccess
from metering.topics import DELIVERIES
from phonemeter.errors import OperationError
from phonemeter.topic_reader import TopicReader
from sinks.notifier.deliveries import Deliveries
from sinks.notifier.kafka_log import DeliveriesPublisher
from sinks.notifier.records import Acknowledgement, Delivery, DeliveryOutput, DeliveryRequest, decode

TOGETHER: Final = 1_000
_OF_ENTRY: Final = re.compile(r"\d+-\d+-\d+")


def move_deliveries(
    source: TopicReader, target: KafkaAccess, partitions: int, alert_ids: Mapping[str, str]
) -> int:
    """Publish the deliveries of `source` on the topics of `target`; returns the number of records.

    Raises:
        OperationError: a record cannot be read.
    """
    publisher = DeliveriesPublisher(target)
    moved = 0
    try:
        for partition in source.spans(DELIVERIES):
            outputs = list(moved_records(_deliveries(source, partition), partitions, alert_ids))
            for begin in range(0, len(outputs), TOGETHER):
                publisher.publish(outputs[begin : begin + TOGETHER])
            moved += len(outputs)
    finally:
        publisher.close()
    return moved


def _deliveries(source: TopicReader, partition: int) -> Deliveries:
    found = Deliveries(keep_finished=True)
    for batch in source.batches(DELIVERIES, partition, source.spans(DELIVERIES)[partition]):
        for record in batch:
            if record.value is None:
                found.erase(record.key or b"")
                continue
            try:
                found.apply(decode(record.value))
            except ValueError as error:
                raise OperationError(
                    f"{DELIVERIES} partition {partition} offset {record.offset} is no delivery ({error}); "
                    f"the notifier does not read it either."
                ) from None
    return found


def moved_records(
    found: Deliveries, partitions: int, alert_ids: Mapping[str, str]
) -> Iterator[DeliveryOutput]:
    """The records that make the state `found` anew, with other ids of alerts."""

    def new_id(alert_id: str) -> str:
        # An alert that the ledger lacks must not be taken for another one.
        return alert_ids.get(alert_id, f"before-{alert_id}" if _OF_ENTRY.fullmatch(alert_id) else alert_id)

    def request(one: DeliveryRequest) -> DeliveryRequest:
        alert = msgspec.structs.replace(one.alert, id=new_id(one.alert.id))
        return msgspec.structs.replace(one, alert=alert)

    def delivery(one: Delivery) -> Delivery:
        first = one.alerts[0] if one.alerts else ""
        renamed = one.id.replace(f"_{first}_", f"_{new_id(first)}_", 1)
        return msgspec.structs.replace(one, id=renamed, alerts=tuple(map(new_id, one.alerts)))

    asked = found.requests | found.pending
    for waiting in asked.values():
        yield DeliveryOutput.of_route(request(waiting), partitions)
    for begun in found.by_id.values():
        yield DeliveryOutput.of_route(delivery(begun), partitions)
    for disabled in found.disabled_routes.values():
        yield DeliveryOutput.of_route(disabled, partitions)
    for said in found.acknowledgements.values():
        renamed = Acknowledgement(at_ms=said.at_ms, alert=new_id(said.alert), by=said.by)
        for partition in range(partitions):
            yield DeliveryOutput.of(renamed, partition)
