"""Topics read outside of the services, also where they are damaged: on the real broker and its files."""

from itertools import pairwise

import pytest
from confluent_kafka import Producer
from kafka import KafkaProducer

from kafka_access.access import KafkaAccess
from metering.content_modes import UNREADABLE_HEADERS
from metering.topics import EVENTS, LEDGER, STATE
from phonemeter.audit.auditor import audit
from phonemeter.errors import OperationError
from phonemeter.event_log import rules_of_log
from phonemeter.replay.rebuild import check_ledger, empty_state
from phonemeter.settings import Settings
from phonemeter.topic_reader import DamagedTopicError, OffsetSpan, offset_spans, open_reader
from tests.conftest import RunningKafka
from tests.damage import damage
from tests.header_names import Latin1
from tests.metering.building import APP, at, purchased, succeeded
from tests.phonemeter.audit.parts import World, audit_settings
from tests.transactions import transaction
from tests.waiting import WITHIN_S

settings = audit_settings


def publish(kafka: RunningKafka, topic: str, batches: list[list[bytes]]) -> None:
    """Publish records to partition 0, each list as one batch."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "linger.ms": 1_000})
    for batch in batches:
        for value in batch:
            producer.produce(topic, value, b"a-key", 0)
        producer.flush()


def test_a_span_is_read_past_transactions_to_exactly_its_end(topics: RunningKafka) -> None:
    publish(topics, EVENTS, [[b"0", b"1"]])
    transaction(topics.bootstrap, EVENTS, [b"aborted"], "abort")
    transaction(topics.bootstrap, EVENTS, [b"4"], "commit")
    assert offset_spans(KafkaAccess(topics.bootstrap), EVENTS)[0] == OffsetSpan(0, 6)
    with open_reader(KafkaAccess(topics.bootstrap)) as reader:
        for span, wanted in (
            (OffsetSpan(0, 6), [0, 1, 4]),
            (OffsetSpan(1, 4), [1]),
            (OffsetSpan(2, 4), []),
            (OffsetSpan(5, 6), []),
        ):
            stretches = list(reader.batches(EVENTS, 0, span))
            assert [one.offset for stretch in stretches for one in stretch] == wanted
            assert (stretches[0].begin, stretches[-1].end) == span
            assert all(before.end == after.begin for before, after in pairwise(stretches))


def test_headers_of_which_a_name_is_not_utf8_are_told_as_unreadable(topics: RunningKafka) -> None:
    client = KafkaProducer(bootstrap_servers=topics.bootstrap)
    # So many that the interpreter has made its short cuts, which look for exceptions elsewhere.
    for _ in range(50):
        sent = client.send(EVENTS, b"1", b"a-key", [("fine", b"1"), (Latin1("straße"), b"2")], 0)
    sent.get(WITHIN_S)
    client.close()
    with open_reader(KafkaAccess(topics.bootstrap)) as reader:
        found = [one for batch in reader.batches(EVENTS, 0, OffsetSpan(0, 50)) for one in batch]
    assert [(one.key, one.value, one.headers) for one in found] == [(b"a-key", b"1", UNREADABLE_HEADERS)] * 50


def test_a_damaged_batch_is_named_with_its_place_and_left_out_where_that_is_asked_for(
    topics: RunningKafka,
) -> None:
    publish(topics, LEDGER, [[b"first"], [b"second", b"third", b"fourth"], [b"fifth"], [b"sixth"]])
    damage(topics, LEDGER, b"third")
    with open_reader(KafkaAccess(topics.bootstrap)) as reader:
        whole = OffsetSpan(0, 6)
        with pytest.raises(
            DamagedTopicError, match="phone-ledger partition 0 is damaged at offset 1: "
        ) as told:
            list(reader.batches(LEDGER, 0, whole))
        assert "stop worker and sink, and run `phonemeter replay --confirm --new-ledger`" in str(told.value)
        places: list[int] = []
        found = [one.value for batch in reader.batches(LEDGER, 0, whole, places.append) for one in batch]
    assert (found, places) == ([b"first", b"fifth", b"sixth"], [1])


def test_the_audit_names_a_damaged_ledger_topic_and_goes_on(topics: RunningKafka, settings: Settings) -> None:
    taps = [succeeded(at(2, hours=hour), event_id=f"tap-{hour}") for hour in range(4)]
    with World(settings) as world:
        world.happens((APP.encode(), value) for value in [purchased(at(1), "p1", calls=5), *taps])
        for entry in world.entries:
            world.publish([entry])
        world.store(world.entries)
        world.commit()
        damage(topics, LEDGER, b"tap-1")
        report = audit(settings)
        log = {0: OffsetSpan(0, len(world.records))}
        with pytest.raises(OperationError, match="phone-ledger partition 0 is damaged at offset"):
            check_ledger(settings.kafka_access, settings.rules(), log)
    found = report.places["phone-ledger"]
    assert found.kinds == {"unreadable": 1, "missing": 1}
    assert report.places["ClickHouse"].kinds == {}


def test_a_damaged_state_is_emptied_without_being_read(topics: RunningKafka, settings: Settings) -> None:
    publish(topics, STATE, [[b"header of long ago"], [b"header of today"]])
    damage(topics, STATE, b"header of today")
    assert rules_of_log(KafkaAccess(topics.bootstrap), settings.rules()).log == settings.rules()
    empty_state(KafkaAccess(topics.bootstrap))
    assert offset_spans(KafkaAccess(topics.bootstrap), STATE)[0] == OffsetSpan(2, 2)
    # And the topic is compacted as before.
    publish(topics, STATE, [[b"a later header"]])
    assert offset_spans(KafkaAccess(topics.bootstrap), STATE)[0] == OffsetSpan(2, 3)
