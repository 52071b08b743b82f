"""What can happen, each with what it does and until when; `fired` says how often it really took place."""

import random
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.torture.load import Load
from tests.torture.processes import Program
from tests.torture.rig import Rig

SESSION_S = 6.0
DELIVERIES = 20
"""How many go wrong, of workers and of a sink, until it is enough."""

FREEZE_S = (SESSION_S + 2, SESSION_S + 6)
AWAY_S_MAX = 120.0
AWAY_SHARE = 0.2
"""Of the time of a run: two minutes in a run of ten."""


@dataclass
class Scene:
    """What a fault may use: the processes, the load, the seeded chance, and how long the engine is away."""

    rig: Rig
    load: Load
    chance: random.Random
    away_s: float

    def running_worker(self) -> Program:
        return self.chance.choice([worker for worker in self.rig.workers if worker.wanted])

    def running_sink(self) -> Program:
        return self.chance.choice([sink for sink in self.rig.sinks if sink.wanted])


def _kill(program: Program) -> int:
    was = program.running
    program.kill()
    return int(was)


def kill_worker(scene: Scene) -> int:
    return _kill(scene.running_worker())


def kill_sink(scene: Scene) -> int:
    return _kill(scene.running_sink())


def kill_engine(scene: Scene) -> int:
    return _kill(scene.rig.engine)


def kill_broker(scene: Scene) -> int:
    return _kill(scene.rig.broker)


def _freeze(scene: Scene, program: Program) -> int:
    with _stopped(program):
        scene.rig.rest(scene.chance.uniform(*FREEZE_S))
    return 1


@contextmanager
def _stopped(program: Program) -> Iterator[None]:
    program.send(signal.SIGSTOP)
    try:
        yield
    finally:
        program.send(signal.SIGCONT)


def freeze_worker(scene: Scene) -> int:
    return _freeze(scene, scene.running_worker())


def freeze_sink(scene: Scene) -> int:
    return _freeze(scene, scene.running_sink())


def restart_broker(scene: Scene) -> int:
    scene.rig.broker.end()
    scene.rig.broker.start()
    return 1


def engine_away(scene: Scene) -> int:
    scene.rig.engine.kill(stay_away=True)
    scene.rig.rest(scene.away_s)
    scene.rig.engine.start()
    return 1


def several_at_once(scene: Scene) -> int:
    """While the broker is away, or just back, worker, sink and engine are killed, and a worker is frozen."""
    rig, chance = scene.rig, scene.chance
    frozen = scene.running_worker()
    rig.broker.kill(stay_away=True)
    with _stopped(frozen):
        kills: list[Callable[[Scene], int]] = [kill_worker, kill_sink, kill_engine]
        chance.shuffle(kills)
        back_after = chance.randrange(len(kills))
        for number, kill in enumerate(kills):
            rig.rest(chance.uniform(0.2, 3.0))
            kill(scene)
            if number == back_after:
                rig.broker.start()
        rig.rest(chance.uniform(0.0, SESSION_S + 2))
    return 1


def second_engine(scene: Scene) -> int:
    """What two stacks on one directory come to: the second one is refused, and says why."""
    status, said = scene.rig.second_engine()
    return int(status != 0 and "Another process is serving the data directory" in said)


def reply_lost(scene: Scene) -> int:
    proxy = scene.rig.proxy
    before = proxy.lost
    proxy.to_lose = 3
    scene.rig.until(lambda: proxy.to_lose == 0, 30)
    proxy.to_lose = 0
    scene.rig.rest(1)
    return proxy.lost - before


def disk_full(scene: Scene) -> int:
    """Then there is room again. What that did to the engine's files it has to notice by itself."""
    with scene.rig.full_disk():
        scene.rig.rest(scene.chance.uniform(4, 8))
    return 1


def directory_deleted(scene: Scene) -> int:
    """While it runs, and then it has to start again without."""
    worker = scene.running_worker()
    shutil.rmtree(worker.directory)
    scene.rig.rest(2)
    worker.kill()
    return 1


def poison(scene: Scene) -> int:
    return scene.load.garbage()


def clocks_off(scene: Scene) -> int:
    return scene.load.clocks_off()


def deliveries_wrong(scene: Scene) -> int:
    notes = scene.rig.deliveries

    def enough() -> bool:
        noted = notes.read_text().splitlines()
        return len(noted) >= DELIVERIES and 0 < sum(what.startswith("sink") for what in noted) < len(noted)

    notes.touch()
    try:
        scene.rig.until(enough, 20)
        return notes.read_text().count("\n") if enough() else 0
    finally:
        notes.unlink()


def second_sink(scene: Scene) -> int:
    """Started by mistake, and ended again."""
    second = scene.rig.sinks[1]
    second.start()
    scene.rig.rest(scene.chance.uniform(8, 12))
    if scene.chance.random() < 0.5:
        second.kill(stay_away=True)
    else:
        second.end()
    return 1


def worker_joins(scene: Scene) -> int:
    """A third worker comes and goes."""
    third = scene.rig.workers[2]
    third.start()
    scene.rig.rest(scene.chance.uniform(8, 12))
    third.end()
    return 1


ALL: dict[str, Callable[[Scene], int]] = {
    "worker killed": kill_worker,
    "sink killed": kill_sink,
    "engine killed": kill_engine,
    "broker killed": kill_broker,
    "worker frozen beyond its session": freeze_worker,
    "sink frozen beyond its session": freeze_sink,
    "broker restarted": restart_broker,
    "engine away": engine_away,
    "reply lost after the INSERT": reply_lost,
    "disk full for the engine": disk_full,
    "worker's directory deleted": directory_deleted,
    "poison and oversized records": poison,
    "producers' clocks off by an hour": clocks_off,
    "deliveries skip and rewind": deliveries_wrong,
    "second sink by mistake": second_sink,
    "second engine on the directory": second_engine,
    "several at once": several_at_once,
    "worker joins and leaves": worker_joins,
}
