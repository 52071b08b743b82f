"""The routing decision under an open load: so many questions a second, whether the last are answered or not.

`python -m bench.route [--seconds N] [--runs N] [--rate N]`. The whole stack runs beside it, and events arrive
all the while. The client is one process; a question counts from the moment at which it was due, so that the
client's own lateness is in the figures. The bare one is Starlette in the same server, which answers as many
bytes at once.
"""

import argparse
import asyncio
import time
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from typing import Final, NamedTuple

import uvloop

from bench.figures import Figure, conditions, percentile, tell, write
from bench.gateway import bare_framework, now_text, sample_tap
from bench.processes import ResourceUsage, stack
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.keys import KeyStore
from phonemeter.settings import Settings
from producers.events import pack_purchased, to_json

RATE: Final = 2_000
EVENTS_PER_S: Final = 500
P99_TARGET_MS: Final = 5.0
APPS: Final = 100
PACK_CALLS: Final = 1_000_000
CONNECTIONS: Final = 64
TICK_S: Final = 0.001
READY_S: Final = 90.0
WARM_UP_S: Final = 2.0
OK: Final = b"HTTP/1.1 200 "
WECHAT: Final = b'"route":"wechat"'


class Answers(NamedTuple):
    """Outcome of the questions of one run: seconds until each answer, and the number of wrong ones."""

    seconds: list[float]
    wrong: int
    unsent: int


class OpenLoad:
    """Questions at a fixed rate over connections of which each has one request at a time."""

    def __init__(self, port: int, paths: list[bytes], key: str, expected: bytes) -> None:
        self._port = port
        self._requests = [
            b"GET %b HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %b\r\n\r\n" % (path, key.encode())
            for path in paths
        ]
        self._expected = expected
        self._idle: deque[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = deque()
        self._waiting: deque[float] = deque()
        self._seconds: list[float] = []
        self._wrong = 0
        self._number = count()

    async def run(self, rate: int, seconds: float) -> Answers:
        """Ask for some seconds."""
        for _ in range(CONNECTIONS):
            self._idle.append(await asyncio.open_connection("127.0.0.1", self._port))
        asking: set[asyncio.Task[None]] = set()
        began_s, due = time.perf_counter(), 0
        while (now_s := time.perf_counter()) < began_s + seconds:
            while began_s + due / rate <= now_s:
                self._waiting.append(began_s + due / rate)
                due += 1
            while self._waiting and self._idle:
                task = asyncio.create_task(self._ask(self._waiting.popleft(), *self._idle.popleft()))
                asking.add(task)
                task.add_done_callback(asking.discard)
            await asyncio.sleep(TICK_S)
        unsent = len(self._waiting)
        await asyncio.gather(*asking)
        for _, writer in self._idle:
            writer.close()
        return Answers(self._seconds, self._wrong, unsent)

    async def _ask(self, due_s: float, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self._requests[next(self._number) % len(self._requests)])
        head = await reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        body = await reader.readexactly(int(length))
        self._seconds.append(time.perf_counter() - due_s)
        self._wrong += not (head.startswith(OK) and self._expected in body)
        self._idle.append((reader, writer))


def main() -> None:
    """Measure as asked on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--rate", type=int, default=RATE)
    asked = parser.parse_args()
    state = conditions()
    for figure in figures(asked.seconds, asked.runs, asked.rate):
        write(figure.as_line(state))


def figures(seconds: int, runs: int, rate: int = RATE) -> Iterator[Figure]:
    """The 99th percentile of decisions, beside that of the bare framework."""
    found: dict[str, list[float]] = {}
    correct = True
    with (
        stack("kafka", "engine", "worker", "sink", "gateway", gateway_access_log=True) as (
            settings,
            programs,
        ),
        bare_framework() as bare,
    ):
        with BusinessDatabase(settings.business_url) as database:
            key = KeyStore(database).issue("bench", ["emit", "read"], [], events_per_s=1_000_000).text
        paths = [f"/v1/apps/{app}/route?capability=quick&store=store-03".encode() for app in _apps()]
        uvloop.run(_prepare(settings, key, paths))
        for number in range(runs):
            began_s = programs["gateway"].usage().cpu_s
            ours = uvloop.run(
                _measure(settings.gateway_port, settings, key, paths, WECHAT, rate=rate, seconds=seconds)
            )
            used_s = {"ours": programs["gateway"].usage().cpu_s - began_s}
            began_s = ResourceUsage.of(bare.pid).cpu_s
            plain = uvloop.run(
                _measure(bare.port, settings, key, [b"/v1/bare"], b" ", rate=rate, seconds=seconds)
            )
            used_s["bare"] = ResourceUsage.of(bare.pid).cpu_s - began_s
            correct = correct and ours.wrong == plain.wrong == ours.unsent == plain.unsent == 0
            for name, answers in (("ours", ours), ("bare", plain)):
                for share in (0.5, 0.99, 0.999):
                    ms = 1_000 * percentile(answers.seconds, share)
                    found.setdefault(f"{name} {share}", []).append(ms)
                tell(
                    f"run {number + 1}: {name}: {len(answers.seconds)} answers, {answers.wrong} wrong, "
                    f"{answers.unsent} not sent; p50, p99, p99.9 in ms: "
                    f"{[round(found[f'{name} {share}'][-1], 2) for share in (0.5, 0.99, 0.999)]}"
                )
                asked = len(answers.seconds) * (seconds + WARM_UP_S) / seconds
                found.setdefault(f"{name} cpu", []).append(1e6 * used_s[name] / max(1, asked))
                tell(f"run {number + 1}: {name}: {found[f'{name} cpu'][-1]:.0f} us of CPU a question")
    under = {"rate": rate, "events_per_s": EVENTS_PER_S, "connections": CONNECTIONS, "seconds": seconds}
    yield Figure(
        figure="route: bare framework, CPU", values=tuple(found["bare cpu"]), unit="us/question", under=under
    )
    yield Figure(figure="route: CPU", values=tuple(found["ours cpu"]), unit="us/question", under=under)
    for share, name in ((0.5, "p50"), (0.99, "p99")):
        yield Figure(
            figure=f"route: bare framework, {name}",
            values=tuple(found[f"bare {share}"]),
            unit="ms",
            under=under,
        )
        yield Figure(
            figure=f"route: {name}",
            values=tuple(found[f"ours {share}"]),
            unit="ms",
            target=P99_TARGET_MS if name == "p99" else None,
            correct=correct,
            under=under,
        )


async def _measure(
    port: int, settings: Settings, key: str, paths: list[bytes], expected: bytes, *, rate: int, seconds: int
) -> Answers:
    emitting = asyncio.create_task(_emit(settings.gateway_port, key))
    try:
        await OpenLoad(port, paths, key, expected).run(rate, WARM_UP_S)
        return await OpenLoad(port, paths, key, expected).run(rate, seconds)
    finally:
        emitting.cancel()
        await asyncio.gather(emitting, return_exceptions=True)


async def _emit(port: int, key: str) -> None:
    """Send taps all the while, ten requests a second."""
    for number in count():
        now = now_text()
        apps = zip(range(EVENTS_PER_S // 10), _apps(), strict=False)
        # Of a sample: checked events would hold this loop up, and the questions with it.
        taps = [sample_tap(f"{now!r}-{number}-{one}", app, now) for one, app in apps]
        await _post(port, key, b"[" + b",".join(taps) + b"]")
        await asyncio.sleep(0.1)


async def _prepare(settings: Settings, key: str, paths: list[bytes]) -> None:
    """Buy a pack for each app, and wait until the gateway knows them all."""
    now = datetime.now(UTC)
    packs = [
        pack_purchased(
            appid=app, pack_id=f"P-{app}", capability="quick", calls=PACK_CALLS, validity_days=365,
            price_micro_yuan=28_000_000_000, paid_at=now, time=now,
        )
        for app in _apps()
    ]  # fmt: skip
    await _post(settings.gateway_port, key, b"[" + b",".join(map(to_json, packs)) + b"]")
    until_s = time.monotonic() + READY_S
    while time.monotonic() < until_s:
        answers = await OpenLoad(settings.gateway_port, paths, key, b'"degraded":false').run(100, 2.0)
        if not answers.wrong:
            return
    raise RuntimeError(f"the gateway does not know the balances after {READY_S:.0f} s")


async def _post(port: int, key: str, body: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = (
        f"POST /v1/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\nconnection: close\r\n"
        f"content-type: application/cloudevents-batch+json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    answer = await reader.read()
    writer.close()
    if not answer.startswith(OK):
        raise RuntimeError(f"the gateway refused events: {answer[-300:]!r}")


def _apps() -> list[str]:
    return [f"wx{number:016x}" for number in range(APPS)]


if __name__ == "__main__":
    main()
