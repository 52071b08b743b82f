"""The faults that take several brokers. Each returns how often it really happened."""

from collections.abc import Callable
from typing import Final

from kafka import TopicPartition
from kafka.admin import KafkaAdminClient

from kafka_access.access import KafkaAccess
from metering.topics import ALL as TOPICS
from metering.topics import SINK_GROUP, WORKER_GROUP
from phonemeter.kafka_admin import admin
from tests.brokers.cluster import Cluster
from tests.torture.faults import Scene, frozen

ENDS_S_MAX: Final = 60.0
WHOLE_S_MAX: Final = 240.0
GROUPS_EMPTY_S_MAX: Final = 30.0
PREFERRED: Final = 0
"""Kafka's number of an election of preferred leaders."""

AWAY_S: Final = (5.0, 12.0)
"""Around the six seconds after which the controller gives up on a silent broker."""


def _cluster(scene: Scene) -> Cluster:
    assert scene.rig.cluster is not None
    return scene.rig.cluster


def _made_whole(scene: Scene) -> int:
    """Wait until every replica is in sync, as one who operates brokers does between two steps."""
    return int(scene.rig.until(_cluster(scene).whole, WHOLE_S_MAX))


def restart_in_turn(scene: Scene) -> int:
    """Restart all brokers, one after the other, each only when all are whole."""
    restarted = 0
    for broker in scene.rig.brokers:
        broker.end(ENDS_S_MAX)
        broker.start()
        restarted += _made_whole(scene)
    return restarted


def kill_two_brokers(scene: Scene) -> int:
    """Kill two brokers for a while: nothing is acknowledged meanwhile, and there is no controller."""
    killed = scene.chance.sample(scene.rig.brokers, 2)
    for broker in killed:
        broker.kill(stay_away=True)
    scene.rig.rest(scene.chance.uniform(*AWAY_S))
    for broker in killed:
        broker.start()
    return len(killed)


def keep_broker_away(scene: Scene) -> int:
    """Kill a broker for longer than its session, so that others take its leaders over."""
    killed = scene.any_broker()
    killed.kill(stay_away=True)
    scene.rig.rest(scene.chance.uniform(*AWAY_S))
    killed.start()
    return 1


def freeze_broker(scene: Scene) -> int:
    """Freeze a broker, whose connections stay open though another may lead in its place."""
    with frozen(scene.any_broker()):
        scene.rig.rest(scene.chance.uniform(*AWAY_S))
    return 1


def lose_disk(scene: Scene) -> int:
    """Lose all that a broker has; it copies it from the others."""
    _made_whole(scene)
    cluster = _cluster(scene)
    node = scene.chance.choice(cluster.nodes)
    cluster.empty(node)
    node.program.start()
    return _made_whole(scene)


def move_leaders(scene: Scene) -> int:
    """Make another replica the preferred one of every partition, and have the preferred ones elected."""
    _made_whole(scene)
    with admin(KafkaAccess(scene.rig.kafka)) as client:
        before = _replicas(client)
        client.alter_partition_reassignments({at: (*found[1:], found[0]) for at, found in before.items()})
    return scene.rig.until(lambda: _leaders_moved(scene, before), WHOLE_S_MAX) * len(before)


def expire_offsets(scene: Scene) -> int:
    """Forget what the groups committed while nobody is in them, as Kafka does after a week."""
    rig = scene.rig
    away = [program for program in (*rig.workers, *rig.sinks) if program.wanted]
    for program in away:
        program.end()
    groups = [WORKER_GROUP, SINK_GROUP]

    def forgotten() -> bool:
        with admin(KafkaAccess(rig.kafka)) as client:
            return set(client.delete_groups(groups).values()) <= {"OK", "GroupIdNotFoundError"}

    done = rig.until(forgotten, GROUPS_EMPTY_S_MAX)
    for program in away:
        program.start()
    return int(done)


def _replicas(client: KafkaAdminClient) -> dict[TopicPartition, list[int]]:
    described = client.describe_topics([topic.name for topic in TOPICS])
    return {
        TopicPartition(topic["name"], one["partition_index"]): one["replica_nodes"]
        for topic in described
        for one in topic["partitions"]
    }


def _numbers(partitions: dict[TopicPartition, list[int]], topic: str) -> list[int]:
    return [at.partition for at in partitions if at.topic == topic]


def _leaders_moved(scene: Scene, before: dict[TopicPartition, list[int]]) -> bool:
    with admin(KafkaAccess(scene.rig.kafka)) as client:
        client.elect_leaders(PREFERRED, {topic.name: _numbers(before, topic.name) for topic in TOPICS})
        described = client.describe_topics([topic.name for topic in TOPICS])
    leaders = {
        TopicPartition(topic["name"], one["partition_index"]): one["leader_id"]
        for topic in described
        for one in topic["partitions"]
    }
    return all(leaders[at] == found[1] for at, found in before.items())


ALL: Final[dict[str, Callable[[Scene], int]]] = {
    "brokers restarted in turn": restart_in_turn,
    "two brokers killed": kill_two_brokers,
    "broker away beyond its session": keep_broker_away,
    "broker frozen": freeze_broker,
    "broker's disk lost": lose_disk,
    "leaders moved": move_leaders,
    "committed offsets expired": expire_offsets,
}
