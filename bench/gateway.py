"""Events over HTTP: the gateway with a real Kafka, beside the bare framework with the same requests.

`python -m bench.gateway [--seconds N] [--runs N]`. The client is one process with 64 connections, each with
one request at a time; it makes its events of one sample, since its work takes of the same cores. The bare one
is Starlette in the same server, which reads the body and answers as many bytes. The log has to hold as many
records as events were accepted.
"""

import argparse
import asyncio
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final, NamedTuple

import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bench.figures import Figure, conditions, tell, write
from bench.kafka_log import ends, reading
from bench.processes import free_ports, stack
from http_service.http_server import served
from metering import topics
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.keys import KeyStore
from phonemeter.settings import Settings
from phonemeter.stack.kafka.topics import ensure_topics
from phonemeter.stack.launch import child_command
from phonemeter.stack.ports import listening

CONNECTIONS: Final = 64
BATCH: Final = 500
SINGLE_TARGET: Final = 2_000
BATCHED_TARGET: Final = 10_000
BARE: Final = "--be-bare"
OK: Final = b"HTTP/1.1 200 "
APPS: Final = 500
WARM_UP_S: Final = 5
ANSWER_BYTES: Final = 330
SAMPLE: Final = (
    b'{"specversion":"1.0","id":"%b","source":"/backend","type":"phone.authorization.succeeded","subject":"%b",'
    b'"time":"%b","datacontenttype":"application/json",'
    b'"data":{"capability":"quick","scene":"card_claim","store":"store-03"}}'
)


class BareServer(NamedTuple):
    """The running server without our code."""

    port: int
    pid: int


class Load(NamedTuple):
    """The outcome of one run."""

    requests: int
    failed: int
    seconds: float


def main() -> None:
    """Measure as asked on the command line."""
    if sys.argv[1:2] == [BARE]:
        uvloop.run(_be_bare(int(sys.argv[2])))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--runs", type=int, default=1)
    asked = parser.parse_args()
    state = conditions()
    for figure in figures(asked.seconds, asked.runs):
        write(figure.as_line(state))


def figures(seconds: int, runs: int) -> Iterator[Figure]:
    """Rates of the gateway with single events and with batches, each beside the bare framework's."""
    rates: dict[str, list[float]] = {}
    correct = True
    with stack("kafka", "gateway", gateway_access_log=True) as (settings, programs), bare_framework() as bare:
        ensure_topics(settings.kafka_access, settings.partitions)
        with BusinessDatabase(settings.business_url) as database:
            key = KeyStore(database).issue("bench", ["emit"], [], events_per_s=1_000_000).text
        # A broker that has just started is slow until its code is compiled.
        uvloop.run(_load(settings.gateway_port, key, 1, WARM_UP_S))
        for number in range(runs):
            for size in (1, BATCH):
                before = asyncio.run(_stored(settings))
                used_s = programs["gateway"].usage().cpu_s
                ours = uvloop.run(_load(settings.gateway_port, key, size, seconds))
                used_s = programs["gateway"].usage().cpu_s - used_s
                added = asyncio.run(_stored(settings)) - before
                plain = uvloop.run(_load(bare.port, key, size, seconds))
                correct = correct and ours.failed == plain.failed == 0 and added == ours.requests * size
                tell(f"run {number + 1}: {size} events a request: {ours}, {added} stored; bare: {plain}")
                rates.setdefault(f"ours {size}", []).append(ours.requests * size / ours.seconds)
                rates.setdefault(f"cpu {size}", []).append(1e6 * used_s / (ours.requests * size))
                rates.setdefault(f"bare {size}", []).append(plain.requests * size / plain.seconds)
    under = {"connections": CONNECTIONS, "seconds": seconds}
    for size, name, target in ((1, "single", SINGLE_TARGET), (BATCH, "batched", BATCHED_TARGET)):
        so = under | {"events_per_request": size}
        unit = "requests/s" if size == 1 else "events/s"
        yield Figure(
            figure=f"gateway: bare framework, {name}",
            values=tuple(rates[f"bare {size}"]),
            unit=unit,
            under=so,
        )
        yield Figure(
            figure=f"gateway: {name}",
            values=tuple(rates[f"ours {size}"]),
            unit=unit,
            target=target,
            limit="at least",
            correct=correct,
            under=so,
        )
        yield Figure(
            figure=f"gateway: CPU, {name}", values=tuple(rates[f"cpu {size}"]), unit="us/event", under=so
        )


async def _stored(settings: Settings) -> int:
    async with reading(settings.kafka, topics.EVENTS, range(settings.partitions)) as consumer:
        return sum((await ends(consumer)).values())


async def _load(port: int, key: str, size: int, seconds: int) -> Load:
    """Send for some seconds over all connections."""
    began_s = time.monotonic()
    counts = await asyncio.gather(
        *(_send(port, key, size, number, began_s + seconds) for number in range(CONNECTIONS))
    )
    took_s = time.monotonic() - began_s
    return Load(sum(done for done, _ in counts), sum(failed for _, failed in counts), took_s)


async def _send(port: int, key: str, size: int, number: int, until_s: float) -> tuple[int, int]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    sent = failed = 0
    while time.monotonic() < until_s:
        writer.write(_request(key, size, f"{number}-{sent}-{until_s}"))
        head = await reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        await reader.readexactly(int(length))
        sent += 1
        failed += not head.startswith(OK)
    writer.close()
    return sent, failed


def now_text() -> bytes:
    """Now, as an event has it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").encode()


def _request(key: str, size: int, name: str) -> bytes:
    now = now_text()
    codes = [f"{name}-{one}" for one in range(size)]
    events = [sample_tap(code, f"wx{hash(code) % APPS:016x}", now) for code in codes]
    body = events[0] if size == 1 else b"[" + b",".join(events) + b"]"
    mode = "application/cloudevents+json" if size == 1 else "application/cloudevents-batch+json"
    head = (
        f"POST /v1/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n"
        f"content-type: {mode}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def sample_tap(code: str, appid: str, now: bytes) -> bytes:
    """An event of a tap, made of the sample."""
    return SAMPLE % (hashlib.sha256(code.encode()).hexdigest().encode(), appid.encode(), now)


@contextmanager
def bare_framework() -> Iterator[BareServer]:
    """The bare framework as a process."""
    (port,) = free_ports(1)
    command = child_command((sys.executable, "-m", "bench.gateway", BARE, str(port)))
    process = subprocess.Popen(command, env=dict(os.environ))  # noqa: S603 - our own program
    try:
        while _is_free(port):
            time.sleep(0.1)
        yield BareServer(port, process.pid)
    finally:
        process.kill()
        process.wait()


def _is_free(port: int) -> bool:
    try:
        with listening("127.0.0.1", port):
            return True
    except OSError:
        return False


async def _be_bare(port: int) -> None:
    async def answer(request: Request) -> Response:
        body = await request.body()
        return Response(b" " * min(len(body), 200), media_type="application/json")

    async def answer_at_once(_request: Request) -> Response:
        return Response(b" " * ANSWER_BYTES, media_type="application/json")

    routes = [Route("/v1/events", answer, methods=["POST"]), Route("/v1/bare", answer_at_once)]
    application = Starlette(routes=routes)
    async with served(application, "127.0.0.1", port, "PORT", 10):
        await asyncio.Event().wait()


if __name__ == "__main__":
    main()
