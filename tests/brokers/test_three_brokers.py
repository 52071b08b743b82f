"""The services on a cluster of three brokers that restart, die, change leaders and forget, under load.

After each case the whole ledger is compared with the rules alone, line by line.
"""

from collections.abc import Iterator
from dataclasses import replace
from random import Random

import pytest

from tests.real_parts import starts_real_parts
from tests.torture import cluster_faults, faults
from tests.torture.faults import Scene
from tests.torture.http_load import HttpLoad
from tests.torture.load import Load
from tests.torture.rig import Rig
from tests.torture.verdict import judge
from tests.waiting import blocking_until

EVENTS_PER_S = 40
WITHIN_S = 240.0
WAITS_S = 3.0
"""Time for which nothing must be stored while there is no majority."""


@pytest.fixture(scope="module")
@starts_real_parts
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Three brokers, and two workers, a sink, an engine, a gateway and producers, which log in over TLS."""
    with Rig(tmp_path_factory.mktemp("three"), "", brokers=3) as rig:
        load = Load(rig.kafka, 1, EVENTS_PER_S, 10, rig.kafka_settings)
        http = HttpLoad(rig.gateway_port, rig.key)
        load.start()
        http.start()
        try:
            yield Scene(rig, load, http, Random(1), 0.0)  # noqa: S311 - no secret
        finally:
            load.stop()
            http.stop()


def test_a_rolling_restart_and_moved_leaders_lose_and_double_nothing(scene: Scene) -> None:
    assert cluster_faults.restart_in_turn(scene) == 3
    assert cluster_faults.move_leaders(scene) > 0
    compared(scene)


def test_one_broker_may_die_and_with_two_dead_everything_waits_and_goes_on_by_itself(scene: Scene) -> None:
    restarts = {program.name: program.ended_by_itself for program in scene.rig.programs}
    _, first, second = scene.rig.brokers
    first.kill(stay_away=True)
    recovered(scene, "one is dead, the others have everything")
    second.kill(stay_away=True)
    probes = scene.load.probes("two are dead")
    assert not scene.rig.until(lambda: scene.rig.visible([probe.id for probe in probes]), WAITS_S)
    for broker in (first, second):
        broker.start()
    recovered(scene, "they are back")
    # No service needed a supervisor.
    assert restarts == {program.name: program.ended_by_itself for program in scene.rig.programs}
    compared(scene)


def test_groups_whose_offsets_expired_go_on_where_their_state_is(scene: Scene) -> None:
    recovered(scene, "before the long weekend")
    assert cluster_faults.expire_offsets(scene) == 1
    recovered(scene, "after it")
    compared(scene)


def test_a_topic_made_anew_is_refused_and_the_named_command_helps(scene: Scene) -> None:
    # Of this chance, the workers run meanwhile.
    assert faults.recreate_topic(replace(scene, chance=Random(2))) == 1  # noqa: S311 - no secret
    recovered(scene, "another log")
    compared(scene)


def test_a_backup_outlives_its_death_and_that_of_a_broker_and_is_restored_under_a_prefix(
    scene: Scene,
) -> None:
    recovered(scene, "there is something to back up")
    assert faults.back_up(scene) == 1
    recovered(scene, "a broker was killed during the backup")
    with scene.load.paused(), scene.http.paused():
        assert scene.rig.backups.take()
        clickhouse = scene.rig.clickhouse.replace("/phonemeter", "/restored")
        assert scene.rig.backups.restored(clickhouse) == ""


def recovered(scene: Scene, mark: str) -> None:
    """Wait until events published from now on are in ClickHouse."""
    probes = scene.load.probes(mark)

    def visible() -> bool:
        scene.load.ask_again(probes)
        return scene.rig.visible([probe.id for probe in probes])

    blocking_until(visible, WITHIN_S, f"events are stored: {mark}")


def compared(scene: Scene) -> None:
    """Compare all that is stored with what the rules make of the log, and what was promised over HTTP."""
    with scene.load.paused(), scene.http.paused():
        recovered(scene, f"compared after {scene.load.published}")
        blocking_until(scene.rig.all_stored, WITHIN_S, "all of the log is stored")
        verdict = judge(scene.rig.kafka, scene.rig.engine_port)
        assert verdict.clean, verdict
        assert verdict.lines > 0
        assert scene.http.wrong(scene.rig.clickhouse) == []
