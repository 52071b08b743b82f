import pytest

from metering.health import PROMISES, Problem, Promise, Verdict, starting_verdict, verdict_of
from metering.health_checks import (
    AuditFindings,
    ConsumerPosition,
    HealthLimits,
    StoringProgress,
    audit_problems,
    clickhouse_problems,
    delivery_problems,
    loop_problems,
    membership_problems,
    position_problems,
    storage_problems,
    takeover_problems,
)
from metering.preconditions import FoundTopic, breaches, required_config
from metering.topics import ALL, EVENTS, LEDGER


def found(*places: ConsumerPosition, limits: HealthLimits | None = None) -> list[tuple[Promise, str]]:
    return [
        (problem.promise, problem.sentence) for problem in position_problems(places, limits or HealthLimits())
    ]


def test_clock_ticks_that_have_just_come_are_no_backlog() -> None:
    assert (
        found(*(ConsumerPosition(EVENTS, number, 10, 12, waited_s=11.0, stood_s=11.0) for number in range(4)))
        == []
    )


def test_many_records_that_have_just_come_are_none_either() -> None:
    assert found(ConsumerPosition(EVENTS, 0, 0, 1_000_000, waited_s=30.0)) == []


def test_one_record_that_waits_for_long_is() -> None:
    assert found(ConsumerPosition(EVENTS, 2, 41, 42, waited_s=75.9)) == [
        ("fresh", "Partition 2 of phone-events is behind: 1 record not metered, the oldest for 75 s.")
    ]


def test_a_partition_that_stands_while_its_log_goes_on_is_told_as_that_and_not_as_behind() -> None:
    assert found(ConsumerPosition(LEDGER, 3, 41, 44, waited_s=7_300.0, stood_s=7_300.0)) == [
        (
            "advancing",
            "Partition 3 of phone-ledger has stayed at record 41 of 44 for 2 h: no record was stored.",
        )
    ]


def test_a_partition_may_stand_where_nothing_waits() -> None:
    assert found(ConsumerPosition(EVENTS, 0, 44, 44, stood_s=100_000.0)) == []


def test_a_stopped_partition_is_told_at_once_with_its_reason() -> None:
    stopped = ConsumerPosition(LEDGER, 0, 7, 7, stopped="record 7: it is not a ledger record.")
    assert found(stopped) == [
        ("advancing", "Partition 0 of phone-ledger is stopped at record 7: it is not a ledger record.")
    ]


def test_a_place_beyond_the_end_of_its_log_is_another_log_s() -> None:
    ((promise, sentence),) = found(ConsumerPosition(EVENTS, 1, 50, 8))
    assert promise == "agreeing"
    assert sentence.startswith(
        "Partition 1 of phone-events ends at record 8, but was metered up to record 50:"
    )


def test_a_transaction_may_be_open_for_a_while_and_then_holds_up() -> None:
    assert found(ConsumerPosition(EVENTS, 0, 5, 5, held_up=3, held_up_s=59.0)) == []
    ((promise, sentence),) = found(ConsumerPosition(EVENTS, 0, 5, 5, held_up=3, held_up_s=180.0))
    assert promise == "advancing"
    assert "held up at record 5 by a transaction that has been open for 3 min: 3 records" in sentence


def test_what_a_transaction_holds_up_is_part_of_the_log() -> None:
    assert found(ConsumerPosition(EVENTS, 0, 7, 5, held_up=3)) == []


def test_limits_are_the_askers() -> None:
    place = ConsumerPosition(LEDGER, 0, 0, 1, waited_s=90.0)
    assert found(place, limits=HealthLimits(waited_s=120.0)) == []
    assert len(found(place)) == 1


def test_a_service_that_starts_is_judged_by_nothing_else() -> None:
    verdict = starting_verdict("sink", "ClickHouse does not answer", "abc")
    assert verdict.state == "starting"
    assert verdict.promises_kept() == {"started": False}
    assert verdict.document() == {
        "service": "sink",
        "state": "starting",
        "problems": [
            {
                "promise": "started",
                "sentence": "The sink is starting: ClickHouse does not answer.",
                "partition": None,
            }
        ],
        "notices": [],
        "cluster": "abc",
    }


@pytest.mark.parametrize("service", PROMISES)
def test_a_service_keeps_all_it_promises_or_names_what_it_does_not(service: str) -> None:
    (name,) = (one for one in PROMISES if one == service)
    assert Verdict(name).state == "healthy"
    assert set(Verdict(name).promises_kept().values()) == {True}
    for promise in PROMISES[name][1:]:
        verdict = Verdict(name, (Problem(promise, "..."),))
        assert verdict.state == "unhealthy"
        assert [one for one, holds in verdict.promises_kept().items() if not holds] == [promise]


def test_what_is_promised_to_hold_of_topics_makes_unhealthy_and_advice_does_not() -> None:
    def verdict(setting: str, value: str) -> Verdict:
        topics = {topic.name: FoundTopic(4, 3, {**required_config(topic), setting: value}) for topic in ALL}
        return verdict_of("worker", (), breaches(topics))

    assert verdict("max.message.bytes", "1000").state == "unhealthy"
    assert verdict("min.insync.replicas", "2") == Verdict("worker")
    advised = verdict("min.insync.replicas", "1")
    assert advised.state == "healthy"
    assert len(advised.notices) == len(ALL)


def test_a_loop_that_does_not_come_round_is_told() -> None:
    assert list(loop_problems("sink", 59.0, "Kafka is away.")) == []
    (problem,) = loop_problems("sink", 61.0, "Kafka is away.")
    assert problem == Problem("advancing", "The sink has made no progress for 61 s: Kafka is away.")


def test_a_partition_that_is_not_taken_over_is_told() -> None:
    assert [one.partition for one in takeover_problems({0: 10.0, 1: 90.0})] == [1]


def test_a_clickhouse_that_does_not_answer_is_told_with_its_words() -> None:
    assert list(clickhouse_problems(9.0, "Connection refused")) == []
    (problem,) = clickhouse_problems(13.0, "Connection refused.")
    assert problem == Problem("reachable", "ClickHouse has accepted nothing for 13 s: Connection refused.")


def test_alerts_that_do_not_get_where_they_should_are_told() -> None:
    assert list(delivery_problems("", 900.0, 0, 0)) == []
    told = list(delivery_problems("line 3 is wrong.", 901.0, 2, 1))
    assert [one.promise for one in told] == ["delivered"] * 4
    assert "line 3 is wrong." in told[0].sentence


def test_the_last_audit_counts_and_that_there_was_one() -> None:
    clean = AuditFindings(3_600.0, 100.0, "", {"clickhouse": 0}, 60.0)
    assert list(audit_problems(clean)) == []
    found = AuditFindings(60.0, 181.0, "Kafka does not answer.", {"clickhouse": 2}, 1_900.0)
    assert [one.promise for one in audit_problems(found)] == ["agreeing", "fresh", "fresh"]
    drift, late, balances = (one.sentence for one in audit_problems(found))
    assert drift.startswith("By the last audit, entries in clickhouse that are not what the rules say: 2;")
    assert late == "No audit has ended for 3 min: Kafka does not answer."
    assert balances == "The balances have not been read for 31 min."


def test_a_stage_that_nobody_runs_is_told() -> None:
    assert list(membership_problems({EVENTS: ("g", 1)})) == []
    (problem,) = membership_problems({EVENTS: ("phonemeter-worker", 0)})
    assert problem.sentence == "Nobody reads phone-events: consumer group phonemeter-worker has no members."


def test_what_clickhouse_acknowledged_it_has() -> None:
    assert (
        list(
            storage_problems([StoringProgress(0, (9, 1), (9, 1), 10), StoringProgress(1, (9, 2), (9, 1), 10)])
        )
        == []
    )
    assert list(storage_problems([StoringProgress(0, (-1, -1), (-1, -1), 0)])) == []
    (lost,) = storage_problems([StoringProgress(2, (-1, -1), (9, 1), 10)])
    assert (lost.promise, lost.partition) == ("agreeing", 2)
    assert "acknowledged them up to record 9, line 1 and has them up to none" in lost.sentence
    (beyond,) = storage_problems([StoringProgress(0, (10, 0), (10, 0), 10)])
    assert "phone-events ends at record 10 there" in beyond.sentence
