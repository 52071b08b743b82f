"""The reads of the stack's own gateway, with a key of the business database, up to the explanation."""

import asyncio
import json
import secrets
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest

from dashboards.http.errors import (
    ExplainingBusyError,
    ExplainingTooLongError,
    LedgerAwayError,
    NothingFoundError,
)
from kafka_access.access import KafkaAccess
from metering.times import parse_time
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.keys import KeyStore
from phonemeter.cli.balance import read_balance
from phonemeter.reads.explainer import ProcessExplainer
from phonemeter.reads.progress import KafkaProgress
from phonemeter.stack.stack import Stack
from tests.phonemeter.audit.parts import settled
from tests.phonemeter.cli.calling import called
from tests.ports import free_port
from tests.producers.gateway.parts import BATCHED, tap
from tests.served import scraped
from tests.waiting import WITHIN_S, blocking_until


class Reader(NamedTuple):
    """A client of the stack's gateway with a key for one app."""

    stack: Stack
    app: str
    key: str

    async def get(self, path: str, tag: str = "") -> tuple[int, Any, dict[str, str]]:
        """The status, the content and the headers of an answer."""
        headers = {"authorization": f"Bearer {self.key}", **({"if-none-match": tag} if tag else {})}
        url = f"http://127.0.0.1:{self.stack.settings.gateway_port}{path}"
        async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as reply:
            body = await reply.read()
            found = {name.lower(): value for name, value in reply.headers.items()}
            return reply.status, json.loads(body or b"null"), found

    async def send(self, *events: dict[str, Any]) -> None:
        """Send events through the gateway."""
        url = f"http://127.0.0.1:{self.stack.settings.gateway_port}/v1/events"
        headers = {"authorization": f"Bearer {self.key}", **BATCHED}
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, data=json.dumps(events), headers=headers) as reply,
        ):
            assert reply.status == 200, await reply.text()


@pytest.fixture(scope="module")
def reader(stack: Stack) -> Reader:
    """A client whose app has two taps, one of them sent again."""
    app = f"wx{secrets.token_hex(8)}"
    with BusinessDatabase(stack.settings.business_url) as database:
        issued = KeyStore(database).issue("reads", ("emit", "read"), (app,))
    found = Reader(stack, app, issued.text)
    at = (datetime.now(UTC) - timedelta(minutes=5)).isoformat()
    asyncio.run(found.send(tap(f"{app}-a", app, time=at), tap(f"{app}-b", app, time=at)))
    asyncio.run(found.send(tap(f"{app}-a", app, time=at)))
    settled(stack.settings)
    return found


async def test_what_was_sent_is_read_with_the_figures_of_the_command(reader: Reader) -> None:
    status, found, headers = await reader.get(f"/v1/apps/{reader.app}/balance")
    assert status == 200
    assert found["trial_remaining"] == found["trial_size"] - 2
    told = read_balance(reader.stack.settings.clickhouse, reader.app)
    assert found["capabilities"]["quick"]["calls_left"] == told.capabilities["quick"].calls_left
    status, rows, _ = await reader.get(f"/v1/apps/{reader.app}/usage?group=scene,store")
    assert (status, sum(row["succeeded"] for row in rows["usage"])) == (200, 2)
    assert (await reader.get(f"/v1/apps/{reader.app}/balance", headers["etag"]))[0] == 304
    assert [one["appid"] for one in (await reader.get("/v1/apps"))[1]["apps"]] == [reader.app]


async def test_an_event_is_explained_as_by_the_command(
    reader: Reader, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    name = f"{reader.app}-a"
    status, found, headers = await reader.get(f"/v1/events/{name}")
    assert status == 200, found
    assert found.pop("as_of")
    assert found.pop("runs_on") == "events"
    assert found.pop("explained") is True
    del found["complete_until"]
    settings = reader.stack.settings
    command = ("explain", name, "--json")
    shown = await asyncio.to_thread(
        called, monkeypatch, capsys, tmp_path, settings.kafka, *command, **settings.to_environ()
    )
    assert found == shown.json
    assert [one["explanation"]["decision"] for one in found["occurrences"]] == ["trial_charge", "duplicate"]
    assert (await reader.get(f"/v1/events/{name}", headers["etag"]))[0] == 304
    # Without the explanation its entries are the same.
    status, quick, _ = await reader.get(f"/v1/events/{name}?explain=false")
    assert (status, quick["explained"], quick["occurrences"]) == (200, False, [])
    assert quick["stored"] == [entry for entry in found["stored"] if entry["event_id"] == name]
    assert len(quick["stored"]) == 2


async def test_what_others_have_is_not_there(reader: Reader) -> None:
    for path in ("/v1/apps/wxother/balance", "/v1/events/wxother-a", "/v1/events/nothing?app=wxother"):
        assert (await reader.get(path))[0] == 404


def test_what_has_arrived_is_known_to_be_stored_soon(reader: Reader) -> None:
    began_ms = time.time_ns() // 1_000_000

    def is_complete() -> bool:
        until = asyncio.run(reader.get(f"/v1/apps/{reader.app}/balance"))[1]["complete_until"]
        return until is not None and parse_time(until) >= began_ms

    blocking_until(is_complete, 2 * WITHIN_S, "the figures are complete up to the beginning of the test")


def test_its_metrics_are_among_those_of_the_gateway(reader: Reader) -> None:
    found = scraped(reader.stack.settings.gateway_metrics_port)
    assert found['phonemeter_reads_total{outcome="answered",read="balance"}'] >= 1
    assert found["phonemeter_reads_open"] == 0
    assert "phonemeter_gateway_keys" in found


async def test_an_explanation_that_fails_or_takes_too_long_is_told_so_and_its_process_is_gone(
    reader: Reader,
) -> None:
    settings = reader.stack.settings
    with pytest.raises(NothingFoundError):
        await ProcessExplainer(settings).explain(reader.app, "nothing")
    slow = ProcessExplainer(settings)
    slow._within_s = 0.05
    with pytest.raises(ExplainingTooLongError):
        await slow.explain(reader.app, f"{reader.app}-a")
    away = ProcessExplainer(settings.replaced(kafka=f"127.0.0.1:{free_port()}"))
    first = asyncio.create_task(away.explain(reader.app, "-x"))
    await asyncio.sleep(0)
    with pytest.raises(ExplainingBusyError):
        await away.explain(reader.app, "-x")
    with pytest.raises(LedgerAwayError, match=r"Kafka at .* does not answer"):
        await first


def test_progress_that_is_away_is_a_sentence_and_comes_back(reader: Reader) -> None:
    with pytest.raises(ConnectionError, match="does not answer"):
        KafkaProgress(KafkaAccess(f"127.0.0.1:{free_port()}")).progress()
    progress = KafkaProgress(reader.stack.settings.kafka_access)
    first, second = progress.progress(), progress.progress()
    progress.close()
    third = progress.progress()
    progress.close()
    assert first.at_ms <= second.at_ms <= third.at_ms
    assert set(third.event_ends) == set(range(reader.stack.settings.partitions))
    assert sum(third.metered.values()) >= 3
