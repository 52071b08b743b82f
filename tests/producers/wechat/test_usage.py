"""Reading WeChat's usage interface over real HTTP, as the stand-in answers."""

import asyncio
from collections import deque
from typing import Any

import pytest
from aiohttp import web

from producers.wechat.api import ATTEMPTS
from producers.wechat.errors import Trouble, WechatError
from producers.wechat.tokens import Tokens
from producers.wechat.usage import read_usage
from producers.wechat_sim.world import SimulatedWechat
from tests.producers.wechat.parts import APP, OTHER, api_of, apps, everything_logged, on_port, simulated

SPU = "10000077"


async def rows_of(wechat: SimulatedWechat, appid: str = APP) -> list[tuple[str | None, int, int]]:
    async with api_of(wechat) as api:
        rows = await read_usage(api, Tokens(api, apps()).of_app(appid), SPU)
    return [(row.pkg_id, row.used, row.size) for row in rows]


@pytest.mark.parametrize("appid", [APP, OTHER])
async def test_the_trial_quota_and_packs_of_an_app_are_read_with_counts_that_are_texts(appid: str) -> None:
    wechat = simulated()
    wechat.buy(appid, "quick", 250, 90, pkg_id="ZY1")
    wechat.apps[appid].quotas.use(SPU, 1_003, wechat.now_s())
    assert await rows_of(wechat, appid) == [("", 1_000, 1_000), ("ZY1", 3, 250)]


@pytest.mark.parametrize("packs", [0, 18, 19, 20, 39, 40, 45])
async def test_all_pages_are_read(packs: int) -> None:
    wechat = simulated()
    for number in range(packs):
        wechat.buy(APP, "quick", 250, 90, pkg_id=f"ZY{number}")
    found = await rows_of(wechat)
    assert {name for name, *_ in found} == {"", *(f"ZY{number}" for number in range(packs))}
    assert len(found) == packs + 1
    assert wechat.asked["usage"] == (packs + 1 + 19) // 20


async def test_packs_of_another_capability_are_not_among_them() -> None:
    wechat = simulated()
    wechat.buy(APP, "realtime", 250, 90)
    assert await rows_of(wechat) == [("", 0, 1_000)]


@pytest.mark.parametrize("appid", [APP, OTHER])
async def test_a_token_that_expires_between_two_pages_is_replaced_and_the_reading_goes_on(appid: str) -> None:
    wechat = simulated()
    for _ in range(45):
        wechat.buy(appid, "quick", 250, 90)
    answer = wechat.answer

    def expiring(endpoint: str, query: Any, body: Any) -> Any:  # noqa: ANN401 - as the world's
        if query.get("offset") == "20" and wechat.asked["usage"] == 1:
            wechat.tokens.expire_all()
        return answer(endpoint, query, body)

    wechat.answer = expiring  # type: ignore[method-assign]
    assert len(await rows_of(wechat, appid)) == 46
    own = appid == APP
    assert wechat.asked == {
        "usage": 4,
        **({"stable_token": 2} if own else {"component_token": 2, "authorizer_token": 3}),
    }


async def test_a_token_is_asked_for_once_and_used_until_it_expires() -> None:
    wechat = simulated()
    async with api_of(wechat) as api:
        tokens = Tokens(api, apps())
        await asyncio.gather(*(read_usage(api, tokens.of_app(APP), SPU) for _ in range(8)))
    assert wechat.asked == {"usage": 8, "stable_token": 1}


async def test_a_token_is_not_used_in_its_last_minute() -> None:
    wechat = simulated()
    wechat.tokens.lifetime_s = 59
    async with api_of(wechat) as api:
        source = Tokens(api, apps()).of_app(APP)
        await source.token()
        await source.token()
    assert wechat.asked["stable_token"] == 2


@pytest.mark.parametrize("number", [40001, 42001, 40014])
async def test_a_refused_token_is_replaced_once_and_no_more(number: int) -> None:
    wechat = simulated()
    wechat.errors["usage"] = deque([number])
    assert await rows_of(wechat) == [("", 0, 1_000)]
    wechat.errors["usage"] = deque([number] * 9)
    with pytest.raises(WechatError) as caught:
        await rows_of(wechat)
    assert caught.value.trouble == "token"
    assert len(wechat.errors["usage"]) == 7


@pytest.mark.parametrize("number", [-1, -2])
async def test_a_busy_wechat_and_a_broken_connection_are_tried_again_at_once(number: int) -> None:
    wechat = simulated()
    wechat.errors["usage"] = deque([number, number])
    assert await rows_of(wechat) == [("", 0, 1_000)]
    assert wechat.asked["usage"] == 3


@pytest.mark.parametrize(
    ("number", "trouble", "asked"),
    [
        (-1, "busy", ATTEMPTS),
        (-2, "unreachable", ATTEMPTS),
        (45009, "limited", 1),
        (45011, "limited", 1),
        (48001, "refused", 1),
        (10120700, "refused", 1),
    ],
)
async def test_what_does_not_pass_is_told_by_its_kind(number: int, trouble: Trouble, asked: int) -> None:
    wechat = simulated()
    wechat.errors["usage"] = deque([number] * 9)
    with pytest.raises(WechatError) as caught:
        await rows_of(wechat)
    assert caught.value.trouble == trouble
    # aiohttp itself repeats a GET on a connection that breaks.
    assert wechat.asked["usage"] == asked or (number == -2 and wechat.asked["usage"] <= 2 * asked)
    assert str(caught.value).endswith(".")
    if number > 0:
        assert f"error {number}" in str(caught.value)


async def test_a_wrong_secret_is_told_without_it() -> None:
    wechat = simulated()
    wechat.apps[APP].secret = "another"  # noqa: S105 - no real one
    with pytest.raises(WechatError, match=r"WeChat refused /cgi-bin/stable_token with error 40125") as caught:
        await rows_of(wechat)
    assert caught.value.trouble == "refused"


async def test_a_ticket_that_is_out_of_date_is_told() -> None:
    wechat = simulated()
    wechat.components[next(iter(wechat.components))].ticket = "another"
    with pytest.raises(WechatError, match="61006"):
        await rows_of(wechat, OTHER)


async def test_a_pushed_ticket_comes_before_the_one_in_the_file() -> None:
    wechat = simulated()
    platform = next(iter(wechat.components))
    wechat.components[platform].ticket = "pushed"
    async with api_of(wechat) as api:
        tokens = Tokens(api, apps())
        tokens.take_ticket(platform, "pushed")
        assert len(await read_usage(api, tokens.of_app(OTHER), SPU)) == 1


async def test_a_refresh_token_that_wechat_changes_is_used_from_then_on() -> None:
    wechat = simulated()
    renewed = "renewed-refresh-token"
    async with api_of(wechat) as api:
        source = Tokens(api, apps()).of_app(OTHER)
        answer = wechat.answer

        def renewing(endpoint: str, query: Any, body: Any) -> Any:  # noqa: ANN401 - as the world's
            found = answer(endpoint, query, body)
            if endpoint == "authorizer_token":
                found["authorizer_refresh_token"] = wechat.apps[OTHER].refresh_token = renewed
            return found

        wechat.answer = renewing  # type: ignore[method-assign]
        with everything_logged() as lines:
            source.drop(await source.token())
            await source.token()
    (told,) = [line for line in lines if "another refresh token" in line]
    assert renewed not in told


async def test_a_list_that_changes_between_two_pages_is_read_again_as_a_whole() -> None:
    wechat = simulated()
    for number in range(25):
        wechat.buy(APP, "quick", 250, 90, pkg_id=f"ZY{number:02}")
    answer = wechat.answer

    def growing(endpoint: str, query: Any, body: Any) -> Any:  # noqa: ANN401 - as the world's
        found = answer(endpoint, query, body)
        if query.get("offset") == "0" and wechat.asked["usage"] == 1:
            wechat.buy(APP, "quick", 250, 90, pkg_id="ZY-new", start_s=1.0)
        return found

    wechat.answer = growing  # type: ignore[method-assign]
    assert len(await rows_of(wechat)) == 27


async def test_a_list_that_shifts_between_two_pages_without_growing_is_read_again() -> None:
    """Otherwise one pack would be read twice and another one never."""
    wechat = simulated()
    for number in range(25):
        wechat.buy(APP, "quick", 250, 90, pkg_id=f"ZY{number:02}")
    answer = wechat.answer

    def shifting(endpoint: str, query: Any, body: Any) -> Any:  # noqa: ANN401 - as the world's
        found = answer(endpoint, query, body)
        if query.get("offset") == "0" and wechat.asked["usage"] == 1:
            wechat.buy(APP, "quick", 250, 90, pkg_id="ZY-new", start_s=1.0)
            wechat.apps[APP].quotas.packs.pop(24)
        return found

    wechat.answer = shifting  # type: ignore[method-assign]
    names = [name for name, *_ in await rows_of(wechat)]
    assert len(set(names)) == len(names) == 26
    assert "ZY-new" in names


async def test_two_rows_without_the_id_of_a_pack_are_no_change_of_the_list() -> None:
    wechat = simulated()
    wechat.buy(APP, "quick", 250, 90).pkg_id = ""
    assert await rows_of(wechat) == [("", 0, 1_000), ("", 0, 250)]


async def test_a_list_that_never_rests_is_given_up() -> None:
    wechat = simulated()
    for _ in range(25):
        wechat.buy(APP, "quick", 250, 90)
    answer = wechat.answer

    def growing(endpoint: str, query: Any, body: Any) -> Any:  # noqa: ANN401 - as the world's
        wechat.buy(APP, "quick", 250, 90)
        return answer(endpoint, query, body)

    wechat.answer = growing  # type: ignore[method-assign]
    with pytest.raises(WechatError, match="changed during each of 3 readings"):
        await rows_of(wechat)


@pytest.mark.parametrize(
    ("status", "body", "sentence"),
    [
        (200, "<html>maintenance</html>", "something that is not WeChat's JSON"),
        (200, '{"total":"x"}', "something that is not WeChat's JSON"),
        (200, '{"total":1,"detailList":[{"used":"-1"}]}', "something that is not WeChat's JSON"),
        (502, "{}", "status 502"),
        (302, "", "status 302"),
        (200, " " * 1_100_000, "more than 1,000,000 bytes"),
    ],
)
async def test_an_answer_that_is_not_wechats_is_told(status: int, body: str, sentence: str) -> None:
    async def page(_request: web.Request) -> web.Response:
        return web.Response(status=status, text=body, headers={"location": "/elsewhere"})

    wechat = simulated()
    application = web.Application()
    application.router.add_get("/wxa/charge/usage/get", page)
    async with api_of(wechat) as api, on_port(application) as base:
        tokens = Tokens(api, apps()).of_app(APP)
        await tokens.token()
        api._base = base
        with pytest.raises(WechatError, match=sentence) as caught:
            await read_usage(api, tokens, SPU)
    assert caught.value.trouble == "unreachable"


async def test_a_wechat_that_does_not_answer_is_left_after_the_timeout() -> None:
    async def page(_request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    application = web.Application()
    application.router.add_post("/cgi-bin/stable_token", page)
    async with api_of(simulated(), timeout_s=0.05) as api, on_port(application) as base:
        api._base = base
        with pytest.raises(WechatError, match=r"did not answer within 0\.05 s"):
            await Tokens(api, apps()).of_app(APP).token()


async def test_neither_tokens_nor_secrets_are_logged_or_told_even_if_wechat_repeats_them() -> None:
    wechat = simulated()
    answer = wechat.answer
    told: list[str] = []
    issued: list[str] = []

    def repeating(endpoint: str, query: Any, body: Any) -> Any:  # noqa: ANN401 - as the world's
        found = answer(endpoint, query, body)
        issued.extend(str(value) for name, value in found.items() if name.endswith("access_token"))
        if endpoint == "usage":
            return {"errcode": 48001, "errmsg": f"unauthorized {query['access_token']}"}
        return found

    wechat.answer = repeating  # type: ignore[method-assign]
    with everything_logged() as lines:
        async with api_of(wechat) as api:
            for appid in (APP, OTHER):
                with pytest.raises(WechatError) as caught:
                    await read_usage(api, Tokens(api, apps()).of_app(appid), SPU)
                told.append(str(caught.value))
            # A broken connection, whose exception has the address.
            wechat.errors["usage"] = deque([-2] * 9)
            with pytest.raises(WechatError) as caught:
                await read_usage(api, Tokens(api, apps()).of_app(APP), SPU)
            told.append(str(caught.value))
    assert len(set(issued)) == 3
    text = "\n".join([*lines, *told])
    assert "unauthorized ***" in text
    for secret in (*issued, "appsecret-", "platformsecret-", "ticket@@@", "refreshtoken@@@", "82_"):
        assert secret not in text
