"""Taps that are sent through the gateway at a steady rate, each until it is accepted."""

import http.client
import itertools
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from clickhouse_driver import Client

from metering.ledger import CALL_KINDS

HOST = "127.0.0.1"
BATCH = 5
STEP_S = 0.2
TIMEOUT_S = 10
APPS = 7


class HttpLoad:
    """A client of the gateway, from `start` to `stop`.

    Attributes:
        accepted: the ids that the gateway answered as accepted.
        repeated: requests that were sent again.
    """

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._headers = {
            "authorization": f"Bearer {key}",
            "content-type": "application/cloudevents-batch+json",
        }
        self._stop = threading.Event()
        self._turn = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="HTTP load")
        self.accepted: list[str] = []
        self.repeated = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop, after the request that is under way."""
        self._stop.set()
        self._thread.join()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Send nothing in the meantime, and have nothing under way."""
        with self._turn:
            yield

    def forget(self) -> None:
        """Expect nothing of what was accepted: its log is gone."""
        self.accepted.clear()

    def wrong(self, clickhouse: str) -> list[str]:
        """The accepted ids that do not count exactly once."""
        rows = Client.from_url(clickhouse).execute(
            "SELECT event_id, sum(calls) FROM ledger WHERE kind IN %(kinds)s "
            "AND startsWith(event_id, 'http-') GROUP BY event_id",
            {"kinds": tuple(CALL_KINDS)},
        )
        calls = dict(rows)
        return [one for one in self.accepted if calls.get(one) != 1]

    def _run(self) -> None:
        for number in itertools.count():
            with self._turn:
                events = [_tap(f"http-{number}-{place}", number % APPS) for place in range(BATCH)]
                while not self._stop.is_set() and not self._sent(events):
                    self.repeated += 1
                    self._stop.wait(STEP_S)
            if self._stop.wait(STEP_S):
                return

    def _sent(self, events: list[dict[str, Any]]) -> bool:
        connection = http.client.HTTPConnection(HOST, self._port, timeout=TIMEOUT_S)
        with suppress(OSError, http.client.HTTPException):
            try:
                connection.request("POST", "/v1/events", json.dumps(events), self._headers)
                answer = connection.getresponse()
                results = json.loads(answer.read()).get("results", ())
            finally:
                connection.close()
            if answer.status == http.client.OK:
                self.accepted += [one["id"] for one in results if one["outcome"] == "accepted"]
                return True
        return False


def _tap(identifier: str, app: int) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": identifier,
        "type": "phone.authorization.succeeded",
        "source": "/torture/http",
        "subject": f"wxhttp{app:010d}",
        "time": datetime.now(UTC).isoformat(),
        "data": {"capability": "quick"},
    }
