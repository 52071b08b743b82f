"""Permission to send: keys, scopes, apps and limits, each refused in its own way and with nothing taken."""

import asyncio
import io
import logging
import threading
import time
from collections.abc import Sequence

import pytest

from producers.gateway.api_keys import ApiKey, digest_of, key_id_of, new_key_text
from producers.gateway.key_ring import REREAD_PAUSE_S, STALE_S, KeyRing
from producers.gateway.problems import RequestProblem
from producers.gateway.rate_limits import BURST_EVENTS_MIN, RateLimits
from tests.producers.gateway.parts import APP, BATCHED, ListedKeys, key_with, opened, tap
from tests.waiting import WITHIN_S

NOW_MS = 1_800_000_000_000


@pytest.mark.parametrize(
    ("authorization", "problem"),
    [
        ("", "key_missing"),
        ("Bearer", "key_missing"),
        ("Basic dXNlcjpwYXNz", "key_missing"),
        ("Bearer x", "key_invalid"),
        ("Bearer pm_", "key_invalid"),
        pytest.param(f"Bearer {new_key_text()}", "key_invalid", id="another key"),
        pytest.param("Bearer " + "x" * 5_000, "key_invalid", id="a long text"),
    ],
)
async def test_without_a_key_that_is_known_nothing_is_read_or_taken(authorization: str, problem: str) -> None:
    async with opened() as door:
        given = {"authorization": authorization} if authorization else {}
        answer = await door.post(tap("a"), given, key="")
        assert (answer.status, answer.problem) == (401, problem)
        assert answer.headers["www-authenticate"] == "Bearer"
        assert door.publisher.calls == 0


async def test_a_key_with_its_last_character_changed_is_another_key() -> None:
    async with opened() as door:
        changed = door.text[:-1] + ("a" if door.text[-1] != "a" else "b")
        assert (await door.post(tap("a"), key=changed)).problem == "key_invalid"
        assert (await door.post(tap("a"))).status == 200


async def test_a_key_of_another_with_its_own_prefix_is_refused() -> None:
    async with opened() as door:
        _, _, secret = new_key_text().split("_", 2)
        assert (await door.post(tap("a"), key=f"pm_{key_id_of(door.text)}_{secret}")).status == 401


@pytest.mark.parametrize(
    ("revoked_at_ms", "expires_at_ms"), [(NOW_MS, None), (None, 1)], ids=["revoked", "expired"]
)
async def test_a_key_that_is_not_valid_any_more_is_refused(
    revoked_at_ms: int | None, expires_at_ms: int | None
) -> None:
    async with opened(revoked_at_ms=revoked_at_ms, expires_at_ms=expires_at_ms) as door:
        assert (await door.post(tap("a"))).problem == "key_invalid"


async def test_a_key_that_may_only_read_sends_nothing() -> None:
    async with opened(scopes=("read",)) as door:
        answer = await door.post(tap("a"))
        assert (answer.status, answer.problem) == (403, "scope_missing")
        assert door.publisher.calls == 0


async def test_a_key_of_one_app_sends_events_of_that_app_and_of_no_other() -> None:
    async with opened(apps=(APP,)) as door:
        answer = await door.post([tap("a"), tap("b", "wxother"), tap("c")], BATCHED)
        assert (answer.status, answer.outcomes) == (422, ["accepted", "refused", "accepted"])
        assert answer.body["results"][1]["reason"] == "app_not_allowed"
        assert [b'"wxother"' in value for value in door.publisher.values] == [False, False]


async def test_a_key_of_one_app_does_not_migrate_it_to_an_app_that_it_is_not_for() -> None:
    async with opened(apps=(APP, "wxnew")) as door:
        events = [tap(to, type="account.migrated", data={"to": to}) for to in ("wxnew", "wxother")]
        answer = await door.post(events, BATCHED)
        assert answer.outcomes == ["accepted", "refused"]
        assert answer.body["results"][1]["reason"] == "app_not_allowed"


async def test_a_key_is_refused_as_soon_as_it_is_read_that_it_was_revoked() -> None:
    async with opened() as door:
        assert (await door.post(tap("a"))).status == 200
        door.source.keys.clear()
        await door.ring.read()
        assert (await door.post(tap("b"))).status == 401


async def test_while_the_database_is_away_keys_hold_for_a_minute_and_then_open_nothing() -> None:
    now_s = 0.0
    text, key = key_with()
    source = ListedKeys(key)
    ring = KeyRing(source, 2, lambda: NOW_MS, lambda: now_s)
    with pytest.raises(RequestProblem) as unread:
        ring.opened_by(f"Bearer {text}", {"emit"})
    await ring.read()
    source.away = True
    await ring.read()
    now_s = STALE_S
    assert ring.trouble
    assert ring.opened_by(f"Bearer {text}", {"emit"}) == key
    now_s = STALE_S + 0.1
    with pytest.raises(RequestProblem) as stale:
        ring.opened_by(f"Bearer {text}", {"emit"})
    assert {one.value.name for one in (unread, stale)} == {"unavailable"}
    assert "retry-after" in stale.value.headers


async def test_a_key_that_was_issued_after_the_last_reading_opens_at_once() -> None:
    async with opened() as door:
        text, key = key_with()
        door.source.keys.append(key)
        assert (await door.post(tap("a"), key=text)).status == 200


async def test_an_unknown_key_is_refused_only_if_the_database_could_be_asked() -> None:
    async with opened() as door:
        text, _ = key_with()
        assert (await door.post(tap("a"), key=text)).problem == "key_invalid"
        door.source.away = True
        assert (await door.post(tap("a"), key=text)).problem == "unavailable"
        assert (await door.post(tap("a"))).status == 200


async def test_many_who_guess_keys_wait_for_one_reading_and_cause_no_more_than_a_few_a_second() -> None:
    began_s: list[float] = []

    class CountedKeys(ListedKeys):
        def valid_keys(self) -> Sequence[ApiKey]:
            began_s.append(time.monotonic())
            return super().valid_keys()

    ring = KeyRing(CountedKeys(), 60)
    await ring.read()
    for _ in range(2):
        guesses = [ring.opened_now_by(f"Bearer {new_key_text()}", {"emit"}) for _ in range(500)]
        refused = await asyncio.gather(*guesses, return_exceptions=True)
        assert {one.name for one in refused if isinstance(one, RequestProblem)} == {"key_invalid"}
        assert len(refused) == 500
    assert len(began_s) == 3
    # The event loop may end a pause a little early.
    assert began_s[2] - began_s[1] > 0.9 * REREAD_PAUSE_S


async def test_a_reading_that_began_earlier_and_ends_later_does_not_take_a_new_key_away() -> None:
    text, key = key_with()
    late, goes_on = threading.Event(), threading.Event()

    class SlowOnce(ListedKeys):
        def valid_keys(self) -> Sequence[ApiKey]:
            if late.is_set():
                return [key]
            late.set()
            goes_on.wait(WITHIN_S)
            return []

    ring = KeyRing(SlowOnce(), 60)
    slow = asyncio.create_task(ring.read())
    await asyncio.to_thread(late.wait, WITHIN_S)
    await ring.read()
    goes_on.set()
    await slow
    assert ring.opened_by(f"Bearer {text}", {"emit"}) == key


async def test_a_key_over_its_limit_is_told_when_to_send_the_same_again() -> None:
    async with opened(events_per_s=1_000) as door:
        first = await door.post([tap(str(one)) for one in range(900)], BATCHED)
        over = await door.post([tap(str(one)) for one in range(900)], BATCHED)
        assert (first.status, over.status, over.problem) == (200, 429, "rate_limit")
        assert 1 <= int(over.headers["retry-after"]) <= 2
        assert len(door.publisher.values) == 900


def test_a_bucket_fills_at_the_rate_of_its_key_and_one_key_takes_nothing_from_another() -> None:
    now_s = 0.0
    limits = RateLimits(10, lambda: now_s)
    (_, slow), (_, fast) = key_with(), key_with(events_per_s=2_000)
    limits.take(slow, BURST_EVENTS_MIN)
    with pytest.raises(RequestProblem) as over:
        limits.take(slow, 25)
    assert over.value.headers == {"retry-after": "3"}
    limits.take(fast, 2_000)
    now_s = 2.5
    limits.take(slow, 25)
    with pytest.raises(RequestProblem):
        limits.take(slow, 1)


async def test_a_new_key_has_256_random_bits_and_its_text_is_not_stored() -> None:
    texts = {new_key_text() for _ in range(100)}
    assert len(texts) == 100
    text, key = key_with()
    assert text.split("_", 2)[2] not in repr(key)
    assert key.opens_with(text)
    assert ApiKey(key_id="x", name="", digest=digest_of("y"), scopes=()).opens_with(text) is False


async def test_the_log_has_the_prefix_of_a_key_and_no_secret_and_no_person(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    async with opened() as door:
        sent = {"content-type": "application/json", "x-request-id": "13800138000"}
        await door.request("POST", "/v1/events?token=13800138000", io.BytesIO(b"{}"), sent)
        await door.request("GET", "/13800138000", headers={"x-request-id": "trace-7"})
        logged = [one for one in caplog.records if one.name == "phonemeter.gateway.access"]
        text = "\n".join(one.getMessage() for one in logged)
        assert len(logged) == 2
        assert f"key=pm_{key_id_of(door.text)} " in text
        assert "trace-7 GET ? 404 not_found" in text
        assert door.text not in caplog.text
        assert "13800138000" not in text
