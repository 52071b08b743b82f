"""Deliveries carried over to alerts with other ids: none is lost, and none is taken for another one's."""

from collections.abc import Iterable

import msgspec

from phonemeter.repartition.delivery_move import moved_records
from sinks.notifier.deliveries import Deliveries
from sinks.notifier.records import (
    Acknowledgement,
    AnyRecord,
    Delivery,
    DeliveryRequest,
    RouteState,
    State,
    decode,
    delivery_id_of,
    partition_of,
)
from tests.sinks.notifier.parts import alert

NEW = 6
IDS = {"0-7-0": "2-3-1", "0-9-0": "0-7-0"}


def request(offset: int) -> DeliveryRequest:
    return DeliveryRequest(at_ms=1, alert=alert(offset), route="hook", due_ms=1, held=False)


def delivery(offset: int, state: State) -> Delivery:
    return Delivery(
        at_ms=2,
        id=delivery_id_of(request(offset)),
        route="hook",
        channel="webhook",
        alerts=(request(offset).alert.id,),
        state=state,
        attempt=1,
        since_ms=1,
        due_ms=1,
        owner="somebody",
    )


def moved(records: Iterable[AnyRecord]) -> list[tuple[int, AnyRecord]]:
    """The new records of old ones, with their partitions."""
    before = Deliveries(keep_finished=True)
    for record in records:
        before.apply(record)
    return [(one.partition, decode(one.value or b"")) for one in moved_records(before, NEW, IDS)]


def test_a_delivery_and_its_alert_keep_their_state_under_new_ids() -> None:
    outputs = moved([request(7), delivery(7, "delivered"), request(9), delivery(9, "waiting")])
    assert {partition for partition, _ in outputs} == {partition_of("hook", NEW)}
    after = Deliveries(keep_finished=True)
    for _ in range(2):
        # A move that was broken off publishes them again.
        for _, record in outputs:
            after.apply(record)
    assert after.by_id["alert_2-3-1_hook"].state == "delivered"
    assert after.by_id["alert_0-7-0_hook"].state == "waiting"
    assert after.open == {"alert_0-7-0_hook"}
    assert not after.pending
    assert not after.overwritten
    assert {key[0] for key in after.requests} == {"2-3-1", "0-7-0"}


def test_a_request_that_no_delivery_has_stays_pending() -> None:
    after = Deliveries()
    for _, record in moved([request(9)]):
        after.apply(record)
    assert list(after.pending) == [("0-7-0", "hook")]


def test_an_alert_that_the_ledger_lacks_is_not_taken_for_another_one() -> None:
    ((_, record),) = moved([request(5)])
    assert isinstance(record, DeliveryRequest)
    assert record.alert.id == "before-0-5-0"
    trial = msgspec.structs.replace(request(5), alert=alert(id="a trial"))
    ((_, kept),) = moved([trial])
    assert isinstance(kept, DeliveryRequest)
    assert kept.alert.id == "a trial"


def test_what_people_said_is_known_in_every_partition() -> None:
    said = Acknowledgement(at_ms=3, alert="0-7-0", by="me")
    disabled = RouteState(at_ms=3, route="hook", disabled=True, reason="gone")
    outputs = moved([said, disabled])
    acknowledged = [(partition, one.alert) for partition, one in outputs if isinstance(one, Acknowledgement)]
    assert acknowledged == [(partition, "2-3-1") for partition in range(NEW)]
    assert (partition_of("hook", NEW), disabled) in outputs
