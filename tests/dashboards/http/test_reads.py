"""The reads over HTTP on the real engine: the figures of the command line, in pages, with tags, by key."""

import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from metering.ledger import Entry, EntryKind
from metering.times import DAY_MS, HOUR_MS
from phonemeter.cli.apps import read_apps
from phonemeter.cli.balance import read_balance
from tests.conftest import RunningEngine
from tests.dashboards.http.parts import NOW_MS, ServedReads, reading, rows_of
from tests.phonemeter.cli.storing import stored
from tests.producers.gateway.parts import Answer
from tests.sinks.parts import START_MS, purchase
from tools.pictures.half_year_engine import store_entries

SHA = "a" * 64
NOISE = "'; DROP TABLE ledger; --\\"


def granted(app: str, offset: int) -> Entry:
    return Entry(offset, 0, "trial_grant", START_MS, START_MS, app, calls=100, remaining=100)


def alerted(offset: int, at_ms: int, reason: str, details: str = "{}", *, over: bool = False) -> Entry:
    kind: EntryKind = "recovery" if over else "alert"
    return Entry(offset, 0, kind, at_ms, at_ms, "wx1", "quick", reason=reason, details=details)


def tap(
    app: str, offset: int, at_ms: int, event_id: str, store: str = "store-1", scene: str = "home"
) -> Entry:
    return Entry(
        offset, 0, "charge", at_ms, at_ms, app, "quick", event_id, 1, 30_000, "p1", scene=scene, store=store
    )


ENTRIES = [
    granted("wx1", 0),
    Entry(
        1, 0, "registration", START_MS, START_MS, "wx1", reason="charged",
        details=json.dumps({"name": "会员中心", "entity_type": "enterprise"}),
    ),
    *(purchase("wx1", f"p{n}", 1 + n, calls=1_000, starts_at_ms=START_MS + n * HOUR_MS) for n in range(1, 8)),
    granted("wx2", 20),
    granted("wx3", 21),
    *(
        tap("wx1", 100 + n, START_MS + n * 7 * HOUR_MS, f"tap-{n}", f"store-{n % 3}", f"scene-{n % 2}")
        for n in range(60)
    ),
    tap("wx1", 200, START_MS, SHA[:32]),
    tap("wx1", 201, START_MS, "both"),
    tap("wx2", 202, START_MS, "both"),
    tap("wx2", 203, START_MS, "only-2"),
    tap("wx1", 204, START_MS, "order/7?b"),
    *(alerted(300 + n, START_MS + n * HOUR_MS, "minute_burn", '{"calls":9,"usual":1}') for n in range(6)),
    alerted(310, START_MS + DAY_MS, "level", '{"level_percent":20,"size":1000}'),
    alerted(311, START_MS + DAY_MS, "level", '{"level_percent":10,"size":1000}'),
    alerted(312, START_MS + 2 * DAY_MS, "level", '{"level_percent":10,"size":1000}', over=True),
    alerted(313, START_MS + 17 * DAY_MS, "client_burn", '{"calls":30,"client":"c1","usual":2}'),
    Entry(400, 0, "denied", START_MS + 20 * DAY_MS, START_MS, "wx1", "quick", "newest"),
]  # fmt: skip
LISTS = (
    "/v1/apps?",
    "/v1/apps/wx1/packs?",
    "/v1/apps/wx1/usage?from=2024-06-01&to=2024-06-30&",
    "/v1/apps/wx1/usage?from=2024-06-01&to=2024-06-20&period=hour&group=scene,store&",
    "/v1/apps/wx1/usage?from=2024-06-01&to=2024-06-20&period=month&group=store&",
    "/v1/apps/wx1/alerts?",
)
ONES = ("/v1/apps/wx1", "/v1/apps/wx1/balance", "/v1/events/tap-1")
READS = ("/v1/apps", *ONES, "/v1/apps/wx1/packs", "/v1/apps/wx1/usage", "/v1/apps/wx1/alerts")
OF_APP = tuple(path for path in READS if path.startswith("/v1/apps/wx1"))


@pytest.fixture(scope="module")
def url(engine: RunningEngine) -> str:
    """A database whose ledger holds `ENTRIES`."""
    return stored(engine.url("reads"), ENTRIES)


@pytest.fixture
async def served(url: str) -> AsyncIterator[ServedReads]:
    """The reads for a key that is for all apps."""
    async with reading(url) as served:
        yield served


async def test_the_balance_is_that_of_the_command(served: ServedReads, url: str) -> None:
    found = await served.get("/v1/apps/wx1/balance")
    assert found.pop("complete_until") is None
    assert found == msgspec.to_builtins(read_balance(url, "wx1"))


async def test_an_app_is_as_in_the_list_of_the_command(served: ServedReads, url: str) -> None:
    listed = msgspec.to_builtins(read_apps(url))
    for app in listed["apps"]:
        found = await served.get(f"/v1/apps/{app['appid']}")
        assert {name: found[name] for name in app} == app
        assert (found["as_of"], found["runs_on"]) == (listed["as_of"], listed["runs_on"])
    assert [app["capabilities"]["quick"]["alerts"] for app in listed["apps"] if app["appid"] == "wx1"] == [
        ["client_burn", "level"]
    ]


async def test_use_is_told_by_period_and_place_with_its_cost(served: ServedReads) -> None:
    whole = rows_of(await served.get("/v1/apps/wx1/usage?period=month&from=2024-06-01&to=2024-06-30"))
    assert whole == [
        {
            "begins": "2024-06-01", "capability": "quick", "succeeded": 63, "charged": 63, "trial_charged": 0,
            "free": 0, "exempt": 0, "uncovered": 0, "denied": 1, "failed": 0, "duplicates": 0,
            "amount_micro_yuan": 63 * 30_000,
        }
    ]  # fmt: skip
    day = "/v1/apps/wx1/usage?from=2024-06-02&to=2024-06-02"
    by_store = rows_of(await served.get(f"{day}&group=store"))
    assert [(row["store"], row["charged"], "scene" in row) for row in by_store] == [
        ("store-0", 1, False), ("store-1", 1, False), ("store-2", 1, False),
    ]  # fmt: skip
    hours = rows_of(await served.get(f"{day}&period=hour"))
    assert [row["begins"] for row in hours] == [
        "2024-06-02T05:00:00+08:00", "2024-06-02T12:00:00+08:00", "2024-06-02T19:00:00+08:00",
    ]  # fmt: skip
    assert rows_of(await served.get(f"{day}&capability=realtime")) == []


async def test_without_days_the_newest_are_told(served: ServedReads) -> None:
    found = await served.get("/v1/apps/wx1/usage")
    assert (found["first_day"], found["last_day"]) == ("2024-05-23", "2024-06-21")


async def test_alerts_are_told_by_state_and_level_and_an_old_burn_has_ended(served: ServedReads) -> None:
    stands = rows_of(await served.get("/v1/apps/wx1/alerts?state=open"))
    assert [(one["reason"], one["level_percent"]) for one in stands] == [("client_burn", None), ("level", 20)]
    tens = rows_of(await served.get("/v1/apps/wx1/alerts?level=10"))
    assert [(one["kind"], one["state"]) for one in tens] == [("recovery", "ended"), ("alert", "ended")]
    assert tens[0]["sentence"].startswith("A top-up lifted the balance clear of 10 %")
    burns = rows_of(await served.get("/v1/apps/wx1/alerts?reason=minute_burn"))
    assert {one["state"] for one in burns} == {"ended"}


async def test_packs_are_told_in_consumption_order_by_state(served: ServedReads) -> None:
    found = rows_of(await served.get("/v1/apps/wx1/packs?status=active"))
    assert [(pack["pack_id"], pack["burns"]) for pack in found] == [(f"p{n}", n) for n in range(1, 8)]
    assert found[0]["charged"] == 63
    assert rows_of(await served.get("/v1/apps/wx1/packs?capability=realtime")) == []


@pytest.mark.parametrize("path", LISTS)
async def test_the_pages_of_a_list_are_the_list(served: ServedReads, path: str) -> None:
    whole = await served.get(f"{path}limit=1000")
    assert whole["next"] is None
    found: list[Any] = []
    page = await served.get(f"{path}limit=2")
    while page["next"]:
        assert len(rows_of(page)) == 2
        found += rows_of(page)
        page = await served.get(f"{path}limit=2&cursor={page['next']}")
    found += rows_of(page)
    assert found == rows_of(whole)
    assert len(found) >= 3


async def test_rows_that_are_added_move_no_page(engine: RunningEngine) -> None:
    url = stored(engine.url("growing"), ENTRIES)
    async with reading(url) as served:
        first = await served.get("/v1/apps/wx1/alerts?limit=3")
        store_entries(url, [alerted(999, START_MS + 20 * DAY_MS, "refused", '{"errno":1400001}')])
        second = await served.get(f"/v1/apps/wx1/alerts?limit=3&cursor={first['next']}")
        again = await served.get("/v1/apps/wx1/alerts?limit=7")
    assert [*rows_of(first), *rows_of(second)] == rows_of(again)[1:]


async def refused(served: ServedReads, path: str) -> str:
    answer = await served.door.request("GET", path)
    assert (answer.status, answer.problem) == (400, "malformed")
    return str(answer.body["detail"])


async def test_a_cursor_of_another_list_or_none_is_refused(served: ServedReads, url: str) -> None:
    given = (await served.get("/v1/apps/wx1/packs?limit=2"))["next"]
    for path in (
        f"/v1/apps/wx2/packs?limit=2&cursor={given}",
        f"/v1/apps/wx1/packs?limit=2&status=active&cursor={given}",
        f"/v1/apps/wx1/alerts?limit=2&cursor={given}",
        f"/v1/apps?cursor={given}",
        f"/v1/apps/wx1/packs?limit=2&cursor={given[:-3]}AAA",
        "/v1/apps/wx1/packs?cursor=1",
        "/v1/apps/wx1/packs?cursor=%E4%B8%AD",
    ):
        assert (await refused(served, path)).startswith("cursor: it does not belong to this list")
    assert rows_of(await served.get(f"/v1/apps/wx1/packs?limit=5&cursor={given}"))[0]["pack_id"] == "p3"
    listed = (await served.get("/v1/apps?limit=1"))["next"]
    async with reading(url, apps=("wx1", "wx2")) as others:
        assert "does not belong" in await refused(others, f"/v1/apps?limit=1&cursor={listed}")


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/v1/apps?limit=0", "limit is '0': expected int >= 1."),
        ("/v1/apps?limit=1001", "limit is '1001': expected int <= 1000."),
        ("/v1/apps?limit=ten", "limit is 'ten': expected int, got str."),
        ("/v1/apps?limit=1&limit=2", "limit is given twice; give it once."),
        ("/v1/apps?page=2", "'page' is no parameter here; there are limit, cursor, search."),
        ("/v1/apps/wx1/balance?limit=2", "'limit' is no parameter here; there are none."),
        ("/v1/apps/wx1/usage?period=year", "period is 'year': it is one of hour, day, month."),
        ("/v1/apps/wx1/usage?from=yesterday", "from is 'yesterday': invalid RFC3339 encoded date."),
        ("/v1/apps/wx1/usage?from=2024-06-02&to=2024-06-01", "from (2024-06-02) is after to (2024-06-01)."),
        ("/v1/apps/wx1/usage?to=0001-01-01", "from and to lie between 2017-01-01 and 2050-01-01."),
        (
            "/v1/apps/wx1/usage?period=hour&from=2024-05-01&to=2024-06-01",
            "from and to are 32 days; by the hour 31 are the most.",
        ),
        (
            "/v1/apps/wx1/usage?group=shop",
            "group is 'shop': it is one of scene, store, scene,store.",
        ),
        ("/v1/apps/wx1/packs?capability=slow", "capability is 'slow': it is one of quick, realtime."),
        ("/v1/apps/wx1/alerts?state=", "state is '': it is one of open, ended."),
        ("/v1/apps/wx1/alerts?level=null", "level is 'null': expected int, got str."),
        ("/v1/events/both", "Several apps have an event of this id (wx1, wx2); add app=APPID."),
    ],
)
async def test_a_parameter_that_does_not_fit_is_refused_in_a_sentence(
    served: ServedReads, path: str, sentence: str
) -> None:
    assert await refused(served, path) == sentence


async def asked_again(served: ServedReads, path: str, tag: str) -> Answer:
    return await served.door.request("GET", path, headers={"if-none-match": f'"other", {tag}'})


@pytest.mark.parametrize("path", [*READS, *LISTS])
async def test_an_answer_that_is_the_same_is_not_sent_again(served: ServedReads, path: str) -> None:
    await served.part.look()
    first = await served.door.request("GET", path)
    assert first.headers["cache-control"] == "private, no-cache"
    tag = first.headers["etag"]
    again = await asked_again(served, path, tag)
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)


async def test_an_entry_of_the_app_makes_another_answer_and_one_of_others_does_not(
    engine: RunningEngine,
) -> None:
    url = stored(engine.url("tagged"), ENTRIES)
    async with reading(url) as served:
        tags = {path: (await served.door.request("GET", path)).headers["etag"] for path in OF_APP}
        store_entries(url, [tap("wx2", 1_000, START_MS, "of-others")])
        for path, tag in tags.items():
            assert (await asked_again(served, path, tag)).status == 304
        more = [
            tap("wx1", 1_001, START_MS + DAY_MS, "of-own"),
            alerted(1_002, START_MS + DAY_MS, "run_out", '{"hours_left":3}'),
        ]
        store_entries(url, more)
        for path, tag in tags.items():
            changed = await asked_again(served, path, tag)
            assert (changed.status, changed.headers["etag"] != tag) == (200, True)


async def test_every_answer_says_up_to_when_all_that_arrived_is_in_it(served: ServedReads) -> None:
    for path in READS:
        assert (await served.get(path))["complete_until"] is None
    await served.part.look()
    for path in READS:
        assert (await served.get(path))["complete_until"] == "2026-10-14T17:46:39.000Z"
    assert served.metrics.registry.get_sample_value("phonemeter_reads_incomplete_seconds") == 1
    assert NOW_MS == 1_792_000_000_000


async def test_the_list_has_the_apps_of_the_key_only(url: str) -> None:
    async with reading(url, apps=("wx1", "wx3", "wx404")) as served:
        listed = rows_of(await served.get("/v1/apps"))
        assert [(app["appid"], app["name"]) for app in listed] == [("wx1", "会员中心"), ("wx3", "")]
        for search, found in (("会员", ["wx1"]), ("X3", ["wx3"]), ("wx2", []), (NOISE, [])):
            path = f"/v1/apps?search={search}"
            assert [app["appid"] for app in rows_of(await served.get(path))] == found


MISSING = tuple(path.replace("wx1", "{app}") for path in OF_APP)


@pytest.mark.parametrize("path", MISSING)
async def test_an_app_of_others_is_as_one_that_is_not_there(url: str, path: str) -> None:
    async with reading(url, apps=("wx1", "wx404")) as served:
        others = await served.door.request("GET", path.format(app="wx2"))
        unknown = await served.door.request("GET", path.format(app="wx404"))
    assert (others.problem, others.status) == (unknown.problem, unknown.status) == ("not_found", 404)
    assert others.body["detail"].replace("wx2", "wx404") == unknown.body["detail"]


async def test_an_event_of_others_is_as_one_that_is_not_there(url: str) -> None:
    async with reading(url, apps=("wx1",)) as served:
        answers = {}
        for name in ("only-2", "nowhere", "only-2?app=wx2", "gone"):
            answers[name] = await served.door.request("GET", f"/v1/events/{name}")
            assert answers[name].problem == "not_found"
        told = {
            one.body["detail"].replace(repr(name.partition("?")[0]), "X") for name, one in answers.items()
        }
        assert len(told) == 1
        assert served.explainer.asked == []
        # One that two apps have is that of the key's app.
        assert (await served.get("/v1/events/both"))["appid"] == "wx1"


async def test_an_event_is_found_by_its_whole_id_though_only_digits_are_stored(served: ServedReads) -> None:
    assert (await served.get(f"/v1/events/{SHA}"))["event_id"] == SHA
    assert (await served.get("/v1/events/both?app=wx2"))["appid"] == "wx2"
    assert (await served.get("/v1/events/order%2F7%3Fb"))["event_id"] == "order/7?b"
    assert served.explainer.asked == [("wx1", SHA), ("wx2", "both"), ("wx1", "order/7?b")]


@pytest.mark.parametrize("path", READS)
@pytest.mark.parametrize(
    ("scopes", "key", "problem"),
    [
        (("emit",), None, "scope_missing"),
        (("read",), "", "key_missing"),
        (("read",), "pm_00000000_" + 43 * "x", "key_invalid"),
        (("read",), "not-a-key", "key_invalid"),
    ],
    ids=["emit only", "no key", "unknown key", "no key's form"],
)
async def test_without_a_key_for_reading_nothing_is_asked(
    path: str, scopes: tuple[str, ...], key: str | None, problem: str
) -> None:
    def connect() -> Any:  # noqa: ANN401 - never called
        raise AssertionError("ClickHouse was asked")

    async with reading(connect, scopes=scopes, apps=("wx1",)) as served:
        assert (await served.door.request("GET", path, key=key)).problem == problem
        for method in ("POST", "PUT", "DELETE"):
            assert (await served.door.request(method, path)).status in {401, 403, 404, 405}


async def test_values_stay_values_whatever_they_are(served: ServedReads) -> None:
    for path in (
        f"/v1/apps/{NOISE}/balance",
        f"/v1/events/{NOISE}",
        f"/v1/events/x?app={'wx1'}",
        "/v1/apps/%27%20OR%201=1/usage",
    ):
        assert (await served.door.request("GET", path)).problem == "not_found", path


async def test_an_app_without_packs_and_alerts_has_tags_too(served: ServedReads) -> None:
    for path in ("/v1/apps/wx3/balance", "/v1/apps/wx3/packs", "/v1/apps/wx3/alerts"):
        tag = (await served.door.request("GET", path)).headers["etag"]
        assert (await asked_again(served, path, tag)).status == 304
