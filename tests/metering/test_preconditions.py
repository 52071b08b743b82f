from metering.preconditions import (
    NOTIFIER_TOPICS,
    SINK_TOPICS,
    WORKER_TOPICS,
    Breach,
    BreachLog,
    FoundTopic,
    TopicDemands,
    Weight,
    breaches,
    required_config,
    required_insync_replicas,
)
from metering.topics import ALERTS, ALL, CLOSED_BYTES, DEAD_LETTERS, DELIVERIES, EVENTS, LEDGER, STATE


def as_created(replicas: int = 1) -> dict[str, FoundTopic]:
    return {
        topic.name: FoundTopic(
            4,
            replicas,
            {**required_config(topic), "min.insync.replicas": str(required_insync_replicas(replicas))},
        )
        for topic in ALL
    }


def with_setting(topic: str, setting: str, value: str, replicas: int = 1) -> dict[str, FoundTopic]:
    found = as_created(replicas)
    config = {**(found[topic].config or {}), setting: value}
    return found | {topic: FoundTopic(4, replicas, config)}


def one_breach(topic: str, setting: str, value: str, replicas: int = 1) -> Breach:
    (breach,) = breaches(with_setting(topic, setting, value, replicas))
    assert (breach.topic, breach.setting, breach.found) == (topic, setting, value)
    return breach


def test_topics_as_they_are_created_have_no_breach() -> None:
    for replicas in (1, 2, 3, 5):
        assert breaches(as_created(replicas)) == ()


def test_a_producers_clock_is_refused_with_the_command_that_mends_it() -> None:
    breach = one_breach(EVENTS, "message.timestamp.type", "CreateTime")
    assert breach.weight == "refused"
    assert breach.fixable
    assert breach.sentence == (
        "Topic phone-events has message.timestamp.type=CreateTime and needs LogAppendTime: the broker's "
        "clock says when an event arrived, and a producer's clock would decide in its place; "
        "`phonemeter topics --fix` sets it."
    )


def test_each_setting_has_its_weight() -> None:
    cases: list[tuple[str, str, str, int, Weight]] = [
        (EVENTS, "cleanup.policy", "compact", 1, "refused"),
        (STATE, "cleanup.policy", "compact,delete", 1, "refused"),
        (LEDGER, "retention.ms", "604800000", 1, "broken"),
        (ALERTS, "retention.bytes", "1000000000", 1, "broken"),
        (LEDGER, "max.message.bytes", "500000", 1, "broken"),
        (DELIVERIES, "min.compaction.lag.ms", "0", 1, "broken"),
        (LEDGER, "unclean.leader.election.enable", "true", 3, "broken"),
        (STATE, "segment.bytes", "1073741824", 1, "advice"),
        (EVENTS, "min.insync.replicas", "1", 3, "advice"),
    ]
    assert [one_breach(*case[:4]).weight for case in cases] == [case[4] for case in cases]


def test_what_is_larger_than_needed_is_no_breach() -> None:
    assert breaches(with_setting(DEAD_LETTERS, "max.message.bytes", "10000000")) == ()
    assert breaches(with_setting(STATE, "segment.bytes", "1000000")) == ()
    assert breaches(with_setting(DELIVERIES, "min.compaction.lag.ms", "7200000")) == ()
    assert breaches(with_setting(EVENTS, "min.insync.replicas", "3", replicas=3)) == ()


def test_a_single_replica_cannot_be_elected_wrongly() -> None:
    assert breaches(with_setting(EVENTS, "unclean.leader.election.enable", "true", replicas=1)) == ()


def test_different_numbers_of_partitions_are_refused() -> None:
    found = as_created()
    found[LEDGER] = FoundTopic(8, 1, found[LEDGER].config)
    (breach,) = breaches(found)
    assert breach.weight == "refused"
    assert not breach.fixable
    assert "(phone-events 4, phone-ledger 8, phone-alerts 4" in breach.sentence


def test_a_missing_topic_is_told_and_no_reason_not_to_wait_for_it() -> None:
    found = as_created()
    del found[DEAD_LETTERS]
    (breach,) = breaches(found)
    assert (breach.weight, breach.fixable) == ("broken", False)
    assert breach.sentence == "Topic phone-dead-letters does not exist; `phonemeter topics` creates it."


def test_a_configuration_that_is_not_told_is_no_breach_but_is_said() -> None:
    found = as_created() | {LEDGER: FoundTopic(4, 1, None)}
    (breach,) = breaches(found)
    assert (breach.weight, breach.fixable) == ("advice", False)
    assert "allow DescribeConfigs" in breach.sentence


def test_a_setting_that_the_broker_does_not_know_is_not_missed() -> None:
    found = as_created() | {LEDGER: FoundTopic(4, 1, {"cleanup.policy": "delete"})}
    assert breaches(found) == ()


def test_a_service_does_not_refuse_what_concerns_another_one() -> None:
    found = with_setting(EVENTS, "message.timestamp.type", "CreateTime")
    assert [one.weight for one in breaches(found, WORKER_TOPICS)] == ["refused"]
    assert [one.weight for one in breaches(found, SINK_TOPICS)] == ["broken"]


def test_a_log_that_was_moved_is_refused_to_every_service_and_not_opened_again() -> None:
    breach = one_breach(EVENTS, "max.message.bytes", CLOSED_BYTES)
    assert (breach.weight, breach.fixable) == ("refused", False)
    assert "PHONEMETER_KAFKA_PREFIX" in breach.sentence
    found = with_setting(EVENTS, "max.message.bytes", CLOSED_BYTES)
    for own in (WORKER_TOPICS, SINK_TOPICS, NOTIFIER_TOPICS):
        assert [one.weight for one in breaches(found, own)] == ["refused"]


def test_the_heaviest_breach_comes_first() -> None:
    found = with_setting(STATE, "segment.bytes", "1073741824")
    found |= {EVENTS: with_setting(EVENTS, "message.timestamp.type", "CreateTime")[EVENTS]}
    found |= {LEDGER: with_setting(LEDGER, "retention.ms", "1")[LEDGER]}
    assert [one.weight for one in breaches(found)] == ["refused", "broken", "advice"]


def test_what_stays_is_told_at_first_and_then_now_and_again() -> None:
    seen = breaches(with_setting(LEDGER, "retention.ms", "1"))
    telling = BreachLog(again_looks=3)
    assert [bool(telling.due(seen)) for _ in range(5)] == [True, False, False, True, False]
    assert telling.due(()) == []
    assert telling.due(seen) == list(seen)


def test_what_an_installation_demands_is_refused_where_it_is_not_so() -> None:
    demands = TopicDemands("crm.", replicas=3, insync=2)
    assert breaches(as_created(3), demands=demands) == ()
    few, several = as_created(1), with_setting(LEDGER, "min.insync.replicas", "1", replicas=3)
    found = {**as_created(3), EVENTS: few[EVENTS], LEDGER: several[LEDGER]}
    replicas, _, insync = breaches(found, demands=demands)[:3]
    assert replicas.sentence == (
        "Topic crm.phone-events has 1 replica and PHONEMETER_KAFKA_REPLICATION_FACTOR asks for 3: have "
        "partitions reassigned to more brokers, or ask for fewer."
    )
    assert (replicas.weight, replicas.fixable, replicas.topic) == ("refused", False, "crm.phone-events")
    assert insync.sentence.startswith(
        "Topic crm.phone-ledger has min.insync.replicas=1 and PHONEMETER_KAFKA_MIN_INSYNC_REPLICAS asks for 2"
    )
    assert (insync.weight, insync.wanted) == ("refused", "2")
    lighter = breaches(found, {EVENTS}, demands)
    assert [(one.topic, one.weight) for one in lighter] == [
        ("crm.phone-events", "refused"),
        ("crm.phone-events", "refused"),
        ("crm.phone-ledger", "broken"),
    ]


def test_more_replicas_in_sync_than_there_are_is_named() -> None:
    breach = one_breach(EVENTS, "min.insync.replicas", "2")
    assert (breach.weight, breach.wanted) == ("broken", "1")
    assert "has min.insync.replicas=2 and 1 replica: brokers take no records with that" in breach.sentence


def test_the_prefix_is_in_every_sentence_about_a_topic() -> None:
    for breach in breaches({}, demands=TopicDemands("crm.")):
        assert breach.sentence.startswith(f"Topic {breach.topic} does not exist")
        assert breach.topic.startswith("crm.phone-")
