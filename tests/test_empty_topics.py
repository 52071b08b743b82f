from kafka import KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType

from kafka_access.access import KafkaAccess
from metering.topics import ALERTS, ALL, EVENTS, LEDGER
from phonemeter.kafka_admin import admin
from tests.conftest import PARTITIONS, RunningKafka, emptied


def identities(kafka: RunningKafka) -> dict[str, str]:
    with admin(KafkaAccess(kafka.bootstrap)) as client:
        described = client.describe_topics([topic.name for topic in ALL])
    return {one["name"]: str(one["topic_id"]) for one in described}


def test_a_topic_is_new_where_a_test_wrote_to_it_or_changed_it_and_the_others_are_left(
    topics: RunningKafka,
) -> None:
    before = identities(topics)
    producer = KafkaProducer(bootstrap_servers=topics.bootstrap)
    producer.send(EVENTS, b"a record", partition=PARTITIONS - 1)
    producer.close()
    with admin(KafkaAccess(topics.bootstrap)) as client:
        client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, LEDGER, {"retention.ms": "1000"})])
        client.delete_topics([ALERTS])
    after = identities(emptied(topics, PARTITIONS))
    assert after.keys() == before.keys()
    assert {name for name in before if after[name] != before[name]} == {EVENTS, LEDGER, ALERTS}
    assert not set(identities(emptied(topics, 1)).values()) & set(after.values())
