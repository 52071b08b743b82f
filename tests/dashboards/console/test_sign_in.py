"""Signing in to the console, and out."""

import re
from urllib.parse import urlsplit

import pytest
from yarl import URL

from dashboards.console.sessions import PLAIN_COOKIE, token_digest
from dashboards.console.sign_in_limits import PER_EMAIL
from phonemeter.business.members import MemberRegister
from tests.dashboards.console.parts import PASSWORD, ServedConsole, email_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_who_is_not_signed_in_is_asked_to_and_comes_to_the_page_that_was_wanted(
    console: ServedConsole,
) -> None:
    async with console.browser() as browser:
        asked = await browser.get("/keys?x=1")
        assert (asked.status, asked.path) == (200, "/sign-in?next=/keys?x%3D1")
        assert 'value="/keys?x=1"' in asked.text
        shown = await browser.sign_in(email_of("owner"), wanted="/keys?x=1")
        assert (shown.status, shown.path) == (200, "/keys?x=1")


@pytest.mark.parametrize(
    "wanted", ["https://evil.example/", "//evil.example/", "/\\evil.example", "evil", "/\nx", ""]
)
async def test_signing_in_leads_to_no_other_site(console: ServedConsole, wanted: str) -> None:
    async with console.browser() as browser:
        shown = await browser.sign_in(email_of("owner"), wanted=wanted)
        assert shown.path == (await browser.get("/")).path


async def test_an_unknown_member_a_wrong_password_and_one_without_a_password_have_the_same_answer(
    console: ServedConsole,
) -> None:
    MemberRegister(console.database).add("invited@a.example", "x", "a", "viewer")
    texts = set()
    for email in ("nobody@a.example", email_of("owner"), "invited@a.example"):
        async with console.browser() as browser:
            refused = await browser.sign_in(email, "not the password")
            assert (refused.status, browser.cookie(PLAIN_COOKIE)) == (401, "")
            texts.add(refused.text.replace(email, ""))
    assert len(texts) == 1


async def test_a_session_has_a_token_of_its_own_which_the_database_does_not_have(
    console: ServedConsole,
) -> None:
    async with console.browser() as browser:
        browser.session.cookie_jar.update_cookies(
            {PLAIN_COOKIE: "chosen-by-somebody-else"}, URL(console.base)
        )
        await browser.sign_in(email_of("owner"))
        first = browser.cookie(PLAIN_COOKIE)
        assert len(first) == 43
        await browser.sign_in(email_of("owner"))
        second = browser.cookie(PLAIN_COOKIE)
        assert second not in {first, ""}
        assert console.records.sessions.find(token_digest(first)) is None
        assert console.records.sessions.find(token_digest(second)) is not None
        assert console.records.sessions.find(second) is None


async def test_the_cookie_is_out_of_reach_of_scripts_and_of_other_sites(console: ServedConsole) -> None:
    async with (
        console.browser() as browser,
        browser.session.post(
            f"{console.base}/sign-in",
            data={"email": email_of("owner"), "password": PASSWORD},
            headers={"origin": console.base},
            allow_redirects=False,
        ) as reply,
    ):
        (cookie,) = reply.headers.getall("set-cookie")
        assert re.fullmatch(rf"{PLAIN_COOKIE}=[\w-]+; HttpOnly; Path=/; SameSite=lax", cookie)


async def test_signing_out_ends_the_session_at_the_server_too(console: ServedConsole) -> None:
    async with console.browser(email_of("owner")) as browser:
        token = browser.cookie(PLAIN_COOKIE)
        out = await browser.send("/account", "/sign-out")
        assert (out.path, browser.cookie(PLAIN_COOKIE)) == ("/sign-in", "")
        assert console.records.sessions.find(token_digest(token)) is None


async def test_signing_out_everywhere_ends_the_sessions_of_other_browsers(console: ServedConsole) -> None:
    email = console.add_member("viewer", "a", "everywhere@a.example")
    async with console.browser(email) as one, console.browser(email) as other:
        await one.send("/account", "/account/sign-out-everywhere")
        assert (await other.get("/account")).path == "/sign-in?next=/account"


async def test_a_new_password_ends_other_sessions_and_the_old_one_signs_in_no_more(
    console: ServedConsole,
) -> None:
    email = console.add_member("viewer", "a", "changing@a.example")
    async with console.browser(email) as one, console.browser(email) as other:
        fields = {"password": "another password", "repeated": "another password"}
        wrong = await one.send("/account", "/account/password", current="wrong", **fields)
        assert wrong.status == 422
        done = await one.send("/account", "/account/password", current=PASSWORD, **fields)
        assert done.path == "/account?done=password"
        assert (await other.get("/account")).path.startswith("/sign-in")
        assert (await other.sign_in(email)).status == 401
        assert (await other.sign_in(email, "another password")).status == 200


async def test_a_link_lets_one_choose_a_password_once(console: ServedConsole) -> None:
    async with console.browser(email_of("owner")) as owner, console.browser() as browser:
        invited = await owner.send("/members", "/members", email="New@A.example", name="New", role="owner")
        address = urlsplit(invited.code("link"))
        assert f"{address.scheme}://{address.netloc}" == console.base
        link = f"{address.path}?{address.query}"
        assert (await browser.get(link)).status == 200
        token = address.query.removeprefix("link=")
        short = await browser.post("/password", {"link": token, "password": "short", "repeated": "short"})
        assert short.status == 422
        fields = {"link": token, "password": PASSWORD, "repeated": PASSWORD}
        chosen = await browser.post("/password", fields)
        assert (chosen.status, chosen.path) == (200, (await browser.get("/")).path)
        assert (await browser.post("/password", fields)).status == 410
        assert (await browser.get(link)).status == 410
    async with console.browser("new@a.example"):
        pass


async def test_after_many_attempts_even_the_right_password_has_to_wait(console: ServedConsole) -> None:
    email = console.add_member("viewer", "a", "tried@a.example")
    async with console.browser() as browser:
        for _ in range(PER_EMAIL):
            assert (await browser.sign_in(email, "wrong")).status == 401
        limited = await browser.sign_in(email)
        assert (limited.status, browser.cookie(PLAIN_COOKIE)) == (429, "")
        assert 0 < int(limited.headers["retry-after"]) <= 900


async def test_a_disabled_member_is_out_at_once(console: ServedConsole) -> None:
    email = console.add_member("viewer", "a", "disabled@a.example")
    async with console.browser(email) as browser:
        MemberRegister(console.database).set_disabled(email, disabled=True)
        assert (await browser.get("/account")).path.startswith("/sign-in")
        assert (await browser.sign_in(email)).status == 401
        MemberRegister(console.database).set_disabled(email, disabled=False)
        assert (await browser.sign_in(email)).status == 200
