"""The faults. Each returns how often it really happened."""

import random
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from metering.topics import EVENTS
from streams.checkpointer import CHECKPOINT_S
from tests.torture.cutting import cut
from tests.torture.http_load import HttpLoad
from tests.torture.load import Load
from tests.torture.processes import Program
from tests.torture.rig import ANSWERS, Rig

SESSION_S = 6.0
DELIVERIES = 20
"""Wrong deliveries to workers and a sink until the fault ends."""

FREEZE_S = (SESSION_S + 2, SESSION_S + 6)
SETTLES_S_MAX = 240.0
REFUSED_S_MAX = 180.0

AWAY_S_MAX = 120.0
AWAY_SHARE = 0.2
"""The share of a run in which the engine is down: two minutes in a run of ten."""


@dataclass
class Scene:
    """Everything that a fault may use.

    Attributes:
        away_s: the time for which the engine is down.
        reached: the last offset of each partition before its log was replaced.
    """

    rig: Rig
    load: Load
    http: HttpLoad
    chance: random.Random
    away_s: float
    reached: dict[int, int] = field(default_factory=dict)

    def running_worker(self) -> Program:
        return self.chance.choice([worker for worker in self.rig.workers if worker.wanted])

    def any_broker(self) -> Program:
        return self.chance.choice(self.rig.brokers)

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
    return _kill(scene.any_broker())


def kill_gateway(scene: Scene) -> int:
    return _kill(scene.rig.gateway)


def _freeze(scene: Scene, program: Program) -> int:
    with frozen(program):
        scene.rig.rest(scene.chance.uniform(*FREEZE_S))
    return 1


@contextmanager
def frozen(program: Program) -> Iterator[None]:
    """Suspend a program meanwhile."""
    program.send(signal.SIGSTOP)
    try:
        yield
    finally:
        program.send(signal.SIGCONT)


def freeze_worker(scene: Scene) -> int:
    return _freeze(scene, scene.running_worker())


def freeze_sink(scene: Scene) -> int:
    return _freeze(scene, scene.running_sink())


def freeze_gateway(scene: Scene) -> int:
    return _freeze(scene, scene.rig.gateway)


def restart_broker(scene: Scene) -> int:
    broker = scene.any_broker()
    broker.end()
    broker.start()
    return 1


def stop_engine(scene: Scene) -> int:
    scene.rig.engine.kill(stay_away=True)
    scene.rig.rest(scene.away_s)
    scene.rig.engine.start()
    return 1


def inject_several(scene: Scene) -> int:
    """Kill worker, sink, engine and gateway, and freeze a worker, while a broker is down or just back."""
    rig, chance, broker = scene.rig, scene.chance, scene.any_broker()
    worker = scene.running_worker()
    broker.kill(stay_away=True)
    with frozen(worker):
        kills: list[Callable[[Scene], int]] = [kill_worker, kill_sink, kill_engine, kill_gateway]
        chance.shuffle(kills)
        back_after = chance.randrange(len(kills))
        for number, kill in enumerate(kills):
            rig.rest(chance.uniform(0.2, 3.0))
            kill(scene)
            if number == back_after:
                broker.start()
        rig.rest(chance.uniform(0.0, SESSION_S + 2))
    return 1


def start_second_engine(scene: Scene) -> int:
    """Start a second engine on the directory, which has to be refused with the reason."""
    status, said = scene.rig.second_engine()
    return int(status != 0 and "Another process is serving the data directory" in said)


def lose_reply(scene: Scene) -> int:
    proxy = scene.rig.proxy
    before = proxy.lost
    proxy.to_lose = 3
    scene.rig.until(lambda: proxy.to_lose == 0, 30)
    proxy.to_lose = 0
    scene.rig.rest(1)
    return proxy.lost - before


def fill_disk(scene: Scene) -> int:
    """Fill the engine's file system for a while; it has to recover by itself."""
    with scene.rig.disk.full(scene.rig.engine):
        scene.rig.rest(scene.chance.uniform(4, 8))
    return 1


def delete_directory(scene: Scene) -> int:
    """Delete a worker's directory while it runs, and kill the worker."""
    worker = scene.running_worker()
    shutil.rmtree(worker.directory)
    scene.rig.rest(2)
    worker.kill()
    return 1


def publish_garbage(scene: Scene) -> int:
    return scene.load.garbage()


def shift_clocks(scene: Scene) -> int:
    return scene.load.clocks_off()


def disturb_deliveries(scene: Scene) -> int:
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


def commit_transaction(scene: Scene) -> int:
    """Commit a transaction, whose marker takes an offset without a record."""
    return scene.load.transaction(commit=True)


def abort_transaction(scene: Scene) -> int:
    """Abort a transaction, whose events must never be metered."""
    return scene.load.transaction(commit=False)


def keep_transaction_open(scene: Scene) -> int:
    """Keep a transaction open for a while, so that nothing behind its beginning can be read."""
    return scene.load.transaction(commit=scene.chance.random() < 0.5, open_s=scene.chance.uniform(8, 12))


def back_up(scene: Scene) -> int:
    """Kill a backup that is being taken, and a broker, and take it again meanwhile."""
    backup = scene.rig.begun_backup()
    scene.rig.rest(scene.chance.uniform(0.5, 4.0))
    backup.kill(stay_away=True)
    kill_broker(scene)
    return int(scene.rig.backups.take())


def lose_end(scene: Scene) -> int:
    """Lose metered events as in an unclean election, and publish others."""
    rig, before = scene.rig, scene.rig.read_logs()
    with _all_metered(scene) as away:
        partition = max((len(known), number) for number, known in rig.log.offsets().items())[1]
        for broker in rig.brokers:
            broker.kill(stay_away=True)
        share = scene.chance.uniform(0.02, 0.2)
        for data in rig.kafka_data:
            cut(data, EVENTS, partition, share)
        rig.log.forget()
        for broker in rig.brokers:
            broker.start()
        if away:
            _refill(scene)
    return _wait_for_refusal_and_replay(scene, before)


def recreate_topic(scene: Scene) -> int:
    """Delete and create the topic, and publish other events at the metered offsets."""
    before = scene.rig.read_logs()
    with _all_metered(scene) as away:
        scene.rig.make_anew()
        if away:
            _refill(scene)
    return _wait_for_refusal_and_replay(scene, before)


@contextmanager
def _all_metered(scene: Scene) -> Iterator[bool]:
    """Wait until everything is metered with a checkpoint, and stop the workers or not; yields if it did."""
    rig, away = scene.rig, scene.chance.random() < 0.5
    with scene.load.paused(), scene.http.paused():
        rig.until(rig.all_stored, SETTLES_S_MAX)
        rig.rest(CHECKPOINT_S + 3)
        workers = [worker for worker in rig.workers if worker.wanted] if away else []
        for worker in workers:
            worker.end()
        scene.reached = {number: known[-1] for number, known in rig.log.offsets().items() if known}
        scene.http.forget()
        rig.backups.forget()
        try:
            yield away
        finally:
            for worker in workers:
                worker.start()


def _refill(scene: Scene) -> None:
    """Publish until the log is longer than before, so that offsets alone do not reveal another log."""
    rig = scene.rig

    def further() -> bool:
        scene.load.hurry()
        try:
            offsets = rig.log.offsets()
        except ANSWERS:
            return False
        return all(offsets[number] and offsets[number][-1] > end for number, end in scene.reached.items())

    rig.until(further, SETTLES_S_MAX)


def _wait_for_refusal_and_replay(scene: Scene, before: dict[str, int]) -> int:
    """Wait until a worker reports the loss and stops, and run the command that it names."""
    rig = scene.rig
    if not rig.until(lambda: bool(rig.refusal(before)), REFUSED_S_MAX):
        return 0
    commands = re.findall(r"`(phonemeter replay [^`]+)`", rig.refusal(before))
    wanted = [program for program in (*rig.workers, *rig.sinks) if program.wanted]
    for program in wanted:
        program.end()
    replayed = bool(commands) and rig.until(lambda: rig.command(commands[-1]) == 0, SETTLES_S_MAX)
    for program in wanted:
        program.start()
    return int(replayed)


def run_second_sink(scene: Scene) -> int:
    """Run a second sink for a while, as if by mistake."""
    second = scene.rig.sinks[1]
    second.start()
    scene.rig.rest(scene.chance.uniform(8, 12))
    if scene.chance.random() < 0.5:
        second.kill(stay_away=True)
    else:
        second.end()
    return 1


def run_third_worker(scene: Scene) -> int:
    """Run a third worker for a while."""
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
    "gateway killed": kill_gateway,
    "gateway frozen": freeze_gateway,
    "broker restarted": restart_broker,
    "engine away": stop_engine,
    "reply lost after the INSERT": lose_reply,
    "disk full for the engine": fill_disk,
    "worker's directory deleted": delete_directory,
    "poison and oversized records": publish_garbage,
    "producers' clocks off by an hour": shift_clocks,
    "deliveries skip and rewind": disturb_deliveries,
    "second sink by mistake": run_second_sink,
    "second engine on the directory": start_second_engine,
    "several at once": inject_several,
    "worker joins and leaves": run_third_worker,
    "transaction committed": commit_transaction,
    "transaction aborted": abort_transaction,
    "transaction open for a while": keep_transaction_open,
    "backup killed, taken again": back_up,
    "end of the log lost": lose_end,
    "topic made anew": recreate_topic,
}
