"""The audit over records in wrong partitions: it refuses them as the worker does. Real parts."""

import secrets

from metering.partition_state import PartitionState
from metering.placement import partition_of
from phonemeter.audit.auditor import audit
from phonemeter.audit.sentences import differences
from phonemeter.settings import load
from tests.conftest import PARTITIONS, RunningEngine, RunningKafka
from tests.metering.building import APP, at, purchased, succeeded
from tests.phonemeter.audit.parts import World

KEY = APP.encode()


def test_records_in_wrong_partitions_are_letters_and_a_missing_one_is_named(
    topics: RunningKafka, engine: RunningEngine
) -> None:
    assert partition_of(KEY, PARTITIONS) != 0
    url = engine.url(f"audit_{secrets.token_hex(4)}")
    settings = load(kafka=topics.bootstrap, clickhouse=url, trial_calls=2)
    with World(settings, PartitionState(0, partitions=PARTITIONS)) as world:
        world.happens([(KEY, purchased(at(1), "p1")), (KEY, succeeded(at(2), event_id="tap-1"))])
        assert [one.reason for one in world.letters] == ["wrong_partition"] * 2
        world.publish(world.entries)
        world.store(world.entries)
        world.commit()
        world.publish_letters(world.letters[:1])
        missing = audit(settings)
        assert missing.places["phone-dead-letters"].kinds == {"missing": 1}
        assert any("wrong_partition" in sentence for sentence in differences(missing, 10))
        world.publish_letters(world.letters[1:])
        report = audit(settings)
    assert report.clean
    assert (report.figures.calls, report.partitions[0].dead_letters) == (0, 2)
