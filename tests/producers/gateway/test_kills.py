"""Gateway, broker and the SDK's process killed under load: each accepted event counts, and once."""

import os
import secrets
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

import pytest
from clickhouse_driver import Client

from metering.ledger import CALL_KINDS
from phonemeter.audit.auditor import audit
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.keys import KeyStore
from phonemeter.stack.stack import Stack
from phonemeter.stack.supervisor import ServiceState
from tests.phonemeter.audit.parts import settled
from tests.waiting import WITHIN_S, blocking_until

Victim = Literal["gateway", "kafka", "sender"]
VICTIMS: Final[tuple[tuple[Victim, int], ...]] = (
    ("gateway", 30),
    ("sender", 7),
    ("kafka", 41),
    ("gateway", 3),
    ("gateway", 12),
    ("sender", 25),
)
"""The process that is killed, and after how many more accepted events."""

WITHIN_KILL_S: Final = 4 * WITHIN_S


class Senders:
    """Two back ends, each started again under another name when it was killed."""

    def __init__(self, stack: Stack, key: str, directory: Path) -> None:
        self._url = f"{stack.endpoints.gateway}/v1/events"
        self._environ = {**os.environ, "PHONEMETER_KEY": key}
        self._directory = directory
        self._running: list[subprocess.Popen[bytes]] = []
        self.name = f"wx{secrets.token_hex(4)}"
        self._started = 0

    def start(self) -> None:
        self._started += 1
        name = f"{self.name}-{self._started}"
        with (self._directory / name).open("wb") as accepted:
            self._running.append(
                subprocess.Popen(
                    [sys.executable, "-m", "tests.producers.gateway.run_sender", self._url, name],
                    env=self._environ,
                    cwd=Path(__file__).parents[3],
                    stdout=accepted,
                )
            )

    def kill(self) -> None:
        """Kill -9 the older one, and start another."""
        self.end(self._running.pop(0))
        self.start()

    def end(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.poll() is None, "it gave up"
        process.kill()
        process.wait()

    def end_all(self) -> None:
        while self._running:
            self.end(self._running.pop())

    def accepted(self) -> list[str]:
        """The ids of whole lines: what was cut off by a kill was not told. No sender may have given up."""
        for process in self._running:
            assert process.poll() is None, "it gave up"
        told = (file.read_text() for file in self._directory.iterdir())
        return [one for text in told for line in text.split("\n")[:-1] for one in line.split()]


@contextmanager
def sending(stack: Stack, key: str, directory: Path) -> Iterator[Senders]:
    senders = Senders(stack, key, directory)
    try:
        for _ in range(2):
            senders.start()
        yield senders
    finally:
        senders.end_all()


def killed(stack: Stack, name: Literal["gateway", "kafka"]) -> None:
    """Kill -9 a service, which its supervisor starts again."""
    blocking_until(lambda: stack.state(name) is ServiceState.READY, WITHIN_KILL_S, f"{name} is ready")
    before = stack.pid(name)
    assert before is not None
    os.kill(before, signal.SIGKILL)
    blocking_until(lambda: stack.pid(name) not in {None, before}, WITHIN_KILL_S, f"{name} is back")


@pytest.fixture
def key(stack: Stack) -> str:
    with BusinessDatabase(stack.settings.business_url) as database:
        return KeyStore(database).issue("kills", ("emit",), ()).text


def test_every_accepted_event_counts_once_though_gateway_broker_and_sender_are_killed(
    stack: Stack, key: str, tmp_path: Path
) -> None:
    with sending(stack, key, tmp_path) as senders:
        for victim, more in VICTIMS:
            before = len(senders.accepted())
            blocking_until(lambda: len(senders.accepted()) >= before + more, WITHIN_KILL_S)  # noqa: B023 - called at once
            if victim == "sender":
                senders.kill()
            else:
                killed(stack, victim)
        before = len(senders.accepted())
        blocking_until(lambda: len(senders.accepted()) > before + 20, WITHIN_KILL_S)
    settled(stack.settings)
    accepted = senders.accepted()
    rows = Client.from_url(stack.settings.clickhouse).execute(
        "SELECT event_id, sum(calls) FROM ledger WHERE startsWith(appid, %(name)s) AND kind IN %(kinds)s "
        "GROUP BY event_id",
        {"name": senders.name, "kinds": tuple(CALL_KINDS)},
    )
    calls = Counter(dict(rows))
    assert len(set(accepted)) == len(accepted) > 100
    assert {one: calls[one] for one in accepted if calls[one] != 1} == {}
    assert set(calls.values()) == {1}
    assert audit(stack.settings).clean
