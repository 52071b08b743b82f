"""The negative matrix: keys, scopes, apps and limits. Each request is refused in its own way, takes nothing,
and leaves the gateway as it was for the next one.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from metering.times import HOUR_MS
from phonemeter.business import keys as business_keys
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.keys import KeyStore
from producers.clock import wall_clock_ms
from producers.gateway.key_ring import KeyRing
from tests.producers.gateway.parts import (
    APP,
    BATCHED,
    STRUCTURED,
    Answer,
    Door,
    ReadPart,
    SharedDoor,
    key_with,
    opened,
    shares_a_door,
    tap,
)

OTHER = "wx8ff4154a2448e576"


ENDPOINTS = {
    "send": ("POST", "/v1/events"),
    "read an app": ("GET", f"/v1/apps/{APP}/some"),
    "read or send": ("GET", "/v1/any"),
}


async def asked(door: Door, endpoint: str, authorization: str | None) -> Answer:
    """Ask an endpoint with a header Authorization as it is given."""
    method, path = ENDPOINTS[endpoint]
    given = {} if authorization is None else {"authorization": authorization}
    if method == "POST":
        return await door.post(tap("a"), {**STRUCTURED, **given}, key="")
    return await door.request(method, path, headers=given, key="")


UNKNOWN = "pm_00000000_" + 43 * "x"
BAD = {
    "none": (None, "key_missing"),
    "empty": ("", "key_missing"),
    "no scheme": (UNKNOWN, "key_missing"),
    "another scheme": (f"Basic {UNKNOWN}", "key_missing"),
    "a scheme alone": ("Bearer ", "key_missing"),
    "unknown": (f"Bearer {UNKNOWN}", "key_invalid"),
    "a key and more": (f"Bearer {UNKNOWN} {UNKNOWN}", "key_invalid"),
    "quoted": (f'Bearer "{UNKNOWN}"', "key_invalid"),
    "a short secret": (f"Bearer {UNKNOWN[:-1]}", "key_invalid"),
    "an id in capitals": (f"Bearer pm_ABCDEF01_{43 * 'x'}", "key_invalid"),
    "very long": ("Bearer " + 30_000 * "x", "key_invalid"),
    "not ASCII": ("Bearer pm_00000000_" + 43 * "\N{LATIN SMALL LETTER E WITH ACUTE}", "key_invalid"),
}


@shares_a_door
@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("given", BAD)
async def test_a_header_that_is_no_valid_key_opens_no_endpoint(
    given: str, endpoint: str, shared: SharedDoor
) -> None:
    door, before = shared.door, shared.taken
    authorization, problem = BAD[given]
    answer = await asked(door, endpoint, authorization)
    assert (answer.status, answer.problem) == (401, problem)
    assert answer.headers["www-authenticate"] == "Bearer"
    assert shared.taken == before
    assert (await asked(door, endpoint, f"Bearer {door.text}")).status == 200
    assert shared.taken == before + 1


@pytest.mark.parametrize(
    ("scopes", "apps", "expected"),
    [
        (["emit"], [APP], {"send": 200, "read an app": 403, "read or send": 200}),
        (["read"], [APP], {"send": 403, "read an app": 200, "read or send": 200}),
        (["emit", "read"], [APP], {"send": 200, "read an app": 200, "read or send": 200}),
        (["emit", "read"], [], {"send": 200, "read an app": 200, "read or send": 200}),
        (["emit"], [OTHER], {"send": 422, "read an app": 403, "read or send": 200}),
        (["read"], [OTHER], {"send": 403, "read an app": 404, "read or send": 200}),
        (["emit", "read"], [OTHER], {"send": 422, "read an app": 404, "read or send": 200}),
        ([], [APP], {"send": 403, "read an app": 403, "read or send": 403}),
    ],
    ids=lambda value: "+".join(value) or "none" if isinstance(value, list) else "",
)
async def test_a_key_does_what_its_scopes_and_apps_allow(
    scopes: Sequence[Any], apps: Sequence[str], expected: dict[str, int]
) -> None:
    part = ReadPart()
    async with opened(parts=[part], scopes=scopes, apps=apps) as door:
        found = {one: (await asked(door, one, f"Bearer {door.text}")).status for one in ENDPOINTS}
    assert found == expected
    assert part.calls == [*expected.values()][1:].count(200)
    assert len(door.publisher.values) == (expected["send"] == 200)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_a_rotated_key_opens_with_both_texts_until_the_overlap_ends_and_a_revoked_one_with_none(
    endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ms = wall_clock_ms()
    monkeypatch.setattr(business_keys, "wall_clock_ms", lambda: now_ms)
    with BusinessDatabase(f"sqlite:///{tmp_path}/business.sqlite") as database:
        store = KeyStore(database)
        old = store.issue("back end", ("emit", "read"), (APP,))
        new = store.rotate(old.key.prefix, HOUR_MS)
        async with opened(parts=[ReadPart()]) as door:
            ring: KeyRing = door.ring
            monkeypatch.setattr(ring, "_source", store)
            monkeypatch.setattr(ring, "_now_ms", lambda: now_ms)

            async def statuses() -> list[int]:
                return [(await asked(door, endpoint, f"Bearer {one.text}")).status for one in (old, new)]

            await ring.read()
            assert await statuses() == [200, 200]
            now_ms += HOUR_MS
            # Also one that was read before it expired.
            assert await statuses() == [401, 200]
            await ring.read()
            assert await statuses() == [401, 200]
            store.revoke(new.key.prefix)
            await ring.read()
            assert await statuses() == [401, 401]


async def test_a_client_that_waits_as_long_as_it_is_told_gets_through_and_one_that_does_not_does_not() -> (
    None
):
    async with opened(events_per_s=200) as door:
        now_s = 0.0
        door.rates._monotonic_s = lambda: now_s
        for number in range(1, 6):
            events = [tap(f"{number}-{one}") for one in range(1_000)]
            answer = await door.post(events, BATCHED)
            if answer.status == 429:
                told_s = int(answer.headers["retry-after"])
                now_s += told_s - 1
                assert (await door.post(events, BATCHED)).status == 429
                now_s += 1
                answer = await door.post(events, BATCHED)
            assert answer.status == 200, number
        assert len(door.publisher.values) == 5_000


async def test_what_was_refused_for_the_rate_costs_nothing_of_it() -> None:
    async with opened(events_per_s=1) as door:
        door.rates._monotonic_s = lambda: 0.0
        assert (await door.post([tap(str(one)) for one in range(600)], BATCHED)).status == 200
        for _ in range(3):
            assert (await door.post([tap(str(one)) for one in range(500)], BATCHED)).status == 429
        assert (await door.post([tap(str(one)) for one in range(400)], BATCHED)).status == 200


async def test_a_key_that_guesses_apps_learns_nothing_of_those_of_others() -> None:
    async with opened(parts=[ReadPart()], scopes=["read"], apps=[OTHER]) as door:
        told = []
        for appid in (APP, "wx0000000000000000"):
            answer = await door.request("GET", f"/v1/apps/{appid}/some")
            told.append((answer.status, answer.problem, answer.body["detail"].replace(appid, "...")))
        assert told[0] == told[1]
        _, stranger = key_with(["read"])
        assert stranger.key_id not in json.dumps(told)
