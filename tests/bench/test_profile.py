from bench.profile import OTHER, shares, stage_of

LOOP = "main (/usr/lib/asyncio/base_events.py:600);run (/here/streams/worker.py:60)"


def test_a_sample_belongs_to_the_stage_of_its_innermost_frame_that_has_one() -> None:
    assert stage_of(LOOP) == "order of work and metrics"
    assert stage_of(
        f"{LOOP};plan (/here/streams/batch_step.py:65);meter (/here/metering/partition.py:1)"
    ) == ("apply the rules")
    read = "read_event (/here/metering/event_validation.py:9);fromisoformat (/usr/lib/datetime.py:3)"
    assert stage_of(f"{LOOP};{read}") == "read and check the event"
    assert stage_of("select (/usr/lib/selectors.py:4)") == OTHER


def test_what_fetches_and_what_publishes_is_told_apart_from_what_calls_it() -> None:
    record = "build (/venv/aiokafka/record/default_records.py:5)"
    assert stage_of(f"send (/venv/aiokafka/producer/sender.py:5);{record}") == "publish"
    assert stage_of(f"fetch (/venv/aiokafka/consumer/fetcher.py:5);{record}") == "fetch and unpack records"
    assert stage_of("_folded (/here/streams/record_batches.py:9)") == "fetch and unpack records"
    assert stage_of(f"{LOOP};publish (/here/streams/publisher.py:9)") == "publish"


def test_a_thread_that_waits_has_no_share() -> None:
    raw = [
        f"{LOOP};select (/usr/lib/python3.11/selectors.py:468) 7",
        f"{LOOP};EpollSelector.select (/usr/lib/python3.11/selectors.py:468) 7",
        "run (/usr/lib/threading.py:982);_worker (/usr/lib/python3.11/concurrent/futures/thread.py:81) 5",
        f"{LOOP} 1",
    ]
    assert shares(raw) == {"order of work and metrics": 100.0}


def test_shares_are_per_cent_of_all_samples_most_first() -> None:
    raw = [f"{LOOP} 1", "meter (/here/metering/partition.py:1) 2", "add (/here/metering/partition.py:2) 1"]
    assert shares(raw) == {"apply the rules": 75.0, "order of work and metrics": 25.0}
