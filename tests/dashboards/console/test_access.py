"""Access to pages: by session, role, owner and form."""

import re

import aiohttp
import pytest

from dashboards.console.members import ENTRIES_A_PAGE
from dashboards.console.page_guard import ConsolePage
from dashboards.console.passwords import Passwords
from dashboards.console.roles import PERMISSIONS, ROLES, Role
from dashboards.console.security_headers import POLICY
from dashboards.console.service import all_pages
from dashboards.console.settings import ConsoleSettings
from phonemeter.business.keys import KeyStore
from phonemeter.business.members import MemberRegister
from phonemeter.business.owners import OwnerStore
from tests.dashboards.console.parts import (
    APPS,
    HASHER,
    OTHER_APP,
    PASSWORD,
    Browser,
    ServedConsole,
    email_of,
    served_console,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


def pages_of(console: ServedConsole) -> list[ConsolePage]:
    return all_pages(ConsoleSettings(), console.records, console.metrics, Passwords(HASHER))


async def issued_key(browser: Browser, **fields: str) -> str:
    """The text of a new key of the browser's owner."""
    given = {"name": "back end", "days": "0", "scope": "emit", "all_apps": "1", **fields}
    answer = await browser.send("/keys", "/keys", **given)
    assert answer.status == 200, answer.mistake
    return answer.code("new-key")


async def test_no_page_is_shown_and_nothing_is_changed_without_a_session(console: ServedConsole) -> None:
    guarded = [page for page in pages_of(console) if page.permission is not None]
    assert len(guarded) >= 15
    async with console.browser() as browser:
        for page in guarded:
            if page.method == "GET":
                seen = await browser.get(page.path)
            else:
                seen = await browser.post(page.path, {"prefix": "pm_00000000"})
            assert seen.path.startswith("/sign-in"), page.path


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_reaches_the_pages_that_it_may_and_no_others(console: ServedConsole, role: Role) -> None:
    email = console.add_member(role, "a", f"{role}-role@a.example")
    async with console.browser(email) as browser:
        token = (await browser.get("/account")).form_token
        for page in pages_of(console):
            if page.permission is None:
                continue
            may = page.permission in PERMISSIONS[role]
            if page.method == "GET":
                seen = await browser.get(page.path)
                # Of addresses with a number in them there is none yet.
                assert seen.status == (403 if not may else 404 if "{" in page.path else 200), page.path
                assert (f'href="{page.path}"' in (await browser.get("/account")).text) >= (
                    may and bool(page.title)
                )
            elif not may:
                seen = await browser.post(page.path, {"form_token": token})
                assert seen.status == 403, page.path


async def test_every_form_is_refused_without_its_token_and_from_other_sites(console: ServedConsole) -> None:
    posts = [page for page in pages_of(console) if page.method == "POST"]
    other = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
    async with console.browser(email_of("owner")) as browser:
        token = (await browser.get("/account")).form_token
        for page in posts:
            fields = {"form_token": token}
            assert (await browser.post(page.path, fields, other)).status == 403, page.path
            assert (await browser.post(page.path, fields, {"sec-fetch-site": "same-site"})).status == 403
            assert (await browser.post(page.path, fields, {"origin": "null"})).status == 403
            assert (await browser.post(page.path, fields, {})).status == 403
            if page.permission is not None:
                assert (await browser.post(page.path, {})).status == 403, page.path
                assert (await browser.post(page.path, {"form_token": "0" * 64})).status == 403
        assert (await browser.get("/account")).status == 200


async def test_the_token_of_another_session_does_not_fit(console: ServedConsole) -> None:
    async with (
        console.browser(email_of("owner", "b")) as other,
        console.browser(email_of("owner")) as browser,
    ):
        token = (await other.get("/account")).form_token
        assert (await browser.post("/sign-out", {"form_token": token})).status == 403


async def test_a_key_of_another_owner_is_not_listed_rotated_or_revoked(console: ServedConsole) -> None:
    of_all = KeyStore(console.database).issue("of the operator", ["emit"], [])
    shared = KeyStore(console.database).issue("of two owners", ["emit"], [APPS[0], OTHER_APP])
    async with console.browser(email_of("owner")) as one, console.browser(email_of("owner", "b")) as other:
        key = await issued_key(one)
        assert key[:11] in (await one.get("/keys")).text
        for prefix in (key[:11], key, of_all.key.prefix, shared.key.prefix):
            assert prefix[:11] not in (await other.get("/keys")).text
            for path in ("/keys/rotate", "/keys/revoke"):
                refused = await other.send("/keys", path, prefix=prefix)
                assert (refused.status, refused.mistake) == (409, "没有这个密钥。")
        valid = {one.prefix for one in KeyStore(console.database).valid_keys()}
        assert {key[:11], of_all.key.prefix, shared.key.prefix} <= valid


async def test_a_key_is_for_apps_of_the_owner_whatever_the_form_says(console: ServedConsole) -> None:
    async with console.browser(email_of("owner")) as browser:
        fields = {"name": "x", "days": "30", "scope": ["read", "write"], "app": [OTHER_APP, APPS[0]]}
        key = (await browser.send("/keys", "/keys", **fields)).code("new-key")
        stored = next(one for one in KeyStore(console.database).valid_keys() if one.prefix == key[:11])
        assert (stored.apps, stored.scopes) == ((APPS[0],), ("read",))
        assert stored.expires_at_ms is not None
        refused = await browser.send("/keys", "/keys", **{**fields, "app": [OTHER_APP]})
        assert refused.status == 422


async def test_a_key_is_shown_once_rotated_and_revoked(console: ServedConsole) -> None:
    async with console.browser(email_of("owner")) as browser:
        key = await issued_key(browser)
        assert key[12:] not in (await browser.get("/keys")).text
        rotated = (await browser.send("/keys", "/keys/rotate", prefix=key[:11])).code("new-key")
        assert rotated[:11] != key[:11]
        await browser.send("/keys", "/keys/revoke", prefix=rotated[:11])
        again = await browser.send("/keys", "/keys/rotate", prefix=rotated[:11])
        assert again.mistake == "该密钥已失效，请创建新的密钥。"
        trail = (await browser.get("/activity")).text
        assert f"轮换了 API 密钥 {key[:11]} back end" in trail
        assert f"吊销了 API 密钥 {rotated[:11]} back end" in trail


async def test_the_audit_trail_is_paged_and_of_the_owner_alone(console: ServedConsole) -> None:
    MemberRegister(console.database).add("many@a.example", "x", "a", "viewer")
    for _ in range(2 * ENTRIES_A_PAGE):
        MemberRegister(console.database).set_disabled("many@a.example", disabled=True)
    async with (
        console.browser(email_of("owner")) as browser,
        console.browser(email_of("owner", "b")) as other,
    ):
        first = await browser.get("/activity")
        address = re.findall(r'href="(/activity\?before=[0-9]+)"', first.text)[0]
        second = await browser.get(address)
        for page in (first, second):
            assert page.text.count('<th scope="row">') == ENTRIES_A_PAGE
        assert re.findall(r'href="(/activity\?before=[0-9]+)"', second.text) not in ([], [address])
        assert "many@a.example" not in (await other.get(address)).text
        assert (await browser.get("/activity?before=x")).text.count('<th scope="row">') == ENTRIES_A_PAGE


async def test_members_of_another_owner_are_out_of_reach(console: ServedConsole) -> None:
    target = console.add_member("viewer", "b", "target@b.example")
    listed = console.records.members.members_of(owner_id_of(console, "b"))
    member_id = next(one.member_id for one in listed if one.email == target)
    async with console.browser(email_of("owner")) as browser:
        assert target not in (await browser.get("/members")).text
        for path in ("/members/role", "/members/remove", "/members/link"):
            refused = await browser.send("/members", path, member=member_id, role="owner")
            assert (refused.status, refused.mistake) == (409, "没有这位成员。")
        taken = await browser.send("/members", "/members", email=target, name="x", role="viewer")
        assert taken.status == 409
    async with console.browser(target):
        pass


async def test_a_member_of_two_owners_chooses_one_and_neither_alone_gives_a_new_password(
    console: ServedConsole,
) -> None:
    email = console.add_member("owner", "a", "both@a.example")
    MemberRegister(console.database).add(email, "x", "b", "viewer")
    own = owner_id_of(console, "a"), owner_id_of(console, "b")
    async with console.browser(email) as browser:
        assert APPS[0] in (await browser.get("/keys")).text
        await browser.send("/account", "/account/owner", owner=own[1])
        assert (await browser.get("/keys")).status == 403
        await browser.send("/account", "/account/owner", owner="0" * 16)
        await browser.send("/account", "/account/owner", owner=own[0])
        assert (await browser.get("/keys")).status == 200
        member_id = next(
            one.member_id for one in console.records.members.members_of(own[0]) if one.email == email
        )
        refused = await browser.send("/members", "/members/link", member=member_id)
        assert refused.mistake == "该成员还属于其他主体，请联系 phonemeter 的管理员。"


async def test_an_owner_keeps_one_member_in_the_role_owner(console: ServedConsole) -> None:
    (first,) = [
        one
        for one in console.records.members.members_of(owner_id_of(console, "b"))
        if one.email == email_of("owner", "b")
    ]
    async with console.browser(email_of("owner", "b")) as browser:
        for path, role in (("/members/role", "viewer"), ("/members/remove", "")):
            refused = await browser.send("/members", path, member=first.member_id, role=role)
            assert refused.mistake == "至少要保留一位“所有者”。"
        # An invited member can't sign in yet.
        await browser.send("/members", "/members", email="late@b.example", name="x", role="owner")
        refused = await browser.send("/members", "/members/remove", member=first.member_id)
        assert refused.status == 409


async def test_a_member_that_is_removed_is_out_at_once_and_forgotten(console: ServedConsole) -> None:
    email = console.add_member("viewer", "a", "removed@a.example")
    owner_id = owner_id_of(console, "a")
    member_id = next(
        one.member_id for one in console.records.members.members_of(owner_id) if one.email == email
    )
    async with console.browser(email) as removed, console.browser(email_of("owner")) as browser:
        await browser.send("/members", "/members/remove", member=member_id)
        assert (await removed.get("/account")).path.startswith("/sign-in")
        assert email not in (await browser.get("/members")).text
        assert f"移除了成员 {email}" in (await browser.get("/activity")).text


@pytest.mark.parametrize(
    "fields",
    [
        {"email": "13800138000@qq.com", "name": "x"},
        {"email": "no address", "name": "x"},
        {"email": "x@a.example", "name": "13800138000"},
        {"email": "x@a.example", "name": "x" * 65},
    ],
    ids=["number in the address", "no address", "number as name", "long name"],
)
async def test_no_phone_number_enters_by_a_member(console: ServedConsole, fields: dict[str, str]) -> None:
    async with console.browser(email_of("owner")) as browser:
        assert (await browser.send("/members", "/members", role="viewer", **fields)).status == 422


async def test_what_people_type_is_text_on_every_page(console: ServedConsole) -> None:
    name = '<b onclick="x">"&amp;\'</b>'
    async with console.browser(email_of("owner")) as browser:
        await issued_key(browser, name=name)
        await browser.send("/members", "/members", email="tag@a.example", name=name, role="viewer")
        for path in ("/keys", "/members", "/activity"):
            text = (await browser.get(path)).text
            assert "onclick" in text or path == "/activity"
            assert "<b " not in text


async def test_every_answer_has_the_headers_that_keep_it_apart(console: ServedConsole) -> None:
    async with console.browser(email_of("owner")) as browser:
        for path in ("/keys", "/sign-in", "/none", "/static/console.css", "/account/password"):
            seen = await browser.get(path)
            assert seen.headers["content-security-policy"] == POLICY
            assert seen.headers["x-content-type-options"] == "nosniff"
            assert seen.headers["referrer-policy"] == "same-origin"
            is_file = path.startswith("/static")
            assert seen.headers["cache-control"] == ("no-cache" if is_file else "no-store")
            assert "strict-transport-security" not in seen.headers
        page = (await browser.get("/keys")).text
        assert re.findall(r"<script(?! src)|<[^>]*\s(?:style|on\w+)=|javascript:", page) == []
        (sheet,) = re.findall(r'rel="stylesheet" href="([^"]+)"', page)
        kept = await browser.get(sheet)
        assert (kept.status, kept.headers["cache-control"].split(", ")[-1]) == (200, "immutable")
        assert (await browser.get("/none")).title == "页面不存在"
        assert (await browser.get("/account/password")).status == 405


async def test_language_and_theme_are_kept_by_the_browser(console: ServedConsole) -> None:
    async with console.browser(email_of("owner")) as browser:
        assert '<html lang="zh-CN">' in (await browser.get("/keys")).text
        english = await browser.post("/preferences", {"language": "en", "next": "/keys"})
        assert (english.path, english.title) == ("/keys", "API keys")
        dark = await browser.post("/preferences", {"theme": "dark", "next": "/keys"})
        assert '<html lang="en" data-theme="dark">' in dark.text
        other = await browser.post("/preferences", {"theme": "pink", "next": "https://evil.example/"})
        assert other.path == (await browser.get("/")).path
        assert 'data-theme="dark"' in other.text


async def test_behind_a_proxy_with_tls_the_cookie_is_bound_to_it_and_the_limit_to_the_client(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    origin = "https://console.example"
    directory = tmp_path_factory.mktemp("tls")
    async with (
        served_console(directory, console_origin=origin, console_proxy="127.0.0.1") as console,
        aiohttp.ClientSession() as session,
    ):
        fields = {"email": email_of("owner"), "password": PASSWORD}
        for given, status in ((console.base, 403), (origin, 303)):
            async with session.post(
                f"{console.base}/sign-in", data=fields, headers={"origin": given}, allow_redirects=False
            ) as reply:
                assert reply.status == status
        (cookie,) = reply.headers.getall("set-cookie")
        assert re.fullmatch(
            r"__Host-phonemeter_console=[\w-]+; HttpOnly; Path=/; SameSite=lax; Secure", cookie
        )
        assert reply.headers["strict-transport-security"] == "max-age=31536000"
        for number in range(51):
            headers = {"origin": origin, "x-forwarded-for": "198.51.100.1, 203.0.113.9"}
            fields = {"email": f"nobody{number}@a.example", "password": "x"}
            async with session.post(f"{console.base}/sign-in", data=fields, headers=headers) as reply:
                assert reply.status == (401 if number < 50 else 429)
        headers["x-forwarded-for"] = "203.0.113.9, 198.51.100.1"
        async with session.post(f"{console.base}/sign-in", data=fields, headers=headers) as reply:
            assert reply.status == 401


def owner_id_of(console: ServedConsole, name: str) -> str:
    owners = OwnerStore(console.database).every_owner()
    return next(one.owner_id for one in owners if one.name == name)
