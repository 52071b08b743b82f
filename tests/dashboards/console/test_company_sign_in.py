"""Signing in by the company's identity provider."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pydantic import ValidationError
from yarl import URL

from dashboards.console.pages.company_sign_in import PLAIN_COOKIE as DEPARTURE
from dashboards.console.sessions import PLAIN_COOKIE
from dashboards.console.settings import ConsoleSettings
from phonemeter.business.members import MemberRegister
from tests.dashboards.console.parts import Browser, Seen, ServedConsole, email_of, served_console
from tests.dashboards.console.provider import CLIENT, SECRET, StandInProvider, stand_in_provider
from tests.ports import free_port


class CompanyConsole(NamedTuple):
    """A console, and the provider that it asks."""

    console: ServedConsole
    provider: StandInProvider


@asynccontextmanager
async def company_console(directory: Path) -> AsyncIterator[CompanyConsole]:
    secret_file = directory / "secret"
    secret_file.write_text(f"{SECRET}\n")
    async with stand_in_provider() as provider:
        provider.claims = {"email": email_of("owner"), "email_verified": True}
        port = free_port()
        async with served_console(
            directory,
            console_port=port,
            console_origin=f"http://127.0.0.1:{port}",
            console_oidc_issuer=provider.base,
            console_oidc_client_id=CLIENT,
            console_oidc_secret_file=str(secret_file),
        ) as console:
            yield CompanyConsole(console, provider)


def is_signed_in(browser: Browser, seen: Seen) -> bool:
    return browser.cookie(PLAIN_COOKIE) != "" and seen.status == 200 and seen.path.startswith("/account")


BEGIN = "/sign-in/company?next=/account"


async def test_a_member_comes_back_from_the_provider_to_the_page_that_was_wanted(tmp_path: Path) -> None:
    async with company_console(tmp_path) as company, company.console.browser() as browser:
        asked = await browser.get("/account")
        assert 'href="/sign-in/company?next=/account"' in asked.text.replace("%2F", "/")
        shown = await browser.get(BEGIN)
        assert is_signed_in(browser, shown)
        assert email_of("owner") in shown.text
        assert browser.cookie(DEPARTURE) == ""


async def test_without_a_provider_there_is_no_such_way(tmp_path: Path) -> None:
    async with served_console(tmp_path) as console, console.browser() as browser:
        assert "/sign-in/company" not in (await browser.get("/sign-in")).text
        assert (await browser.get("/sign-in/company")).status == 404


async def test_the_address_decides_whatever_its_case_and_whether_there_is_a_password(tmp_path: Path) -> None:
    async with company_console(tmp_path) as company, company.console.browser() as browser:
        MemberRegister(company.console.database).add("invited@a.example", "x", "a", "viewer")
        company.provider.claims["email"] = "Invited@A.example"
        assert is_signed_in(browser, await browser.get(BEGIN))


CLAIMS: dict[str, tuple[dict[str, Any], int]] = {
    "no member": ({"email": "nobody@a.example"}, 403),
    "no address": ({"email": None}, 401),
    "an address that is not verified": ({"email_verified": False}, 401),
    "an address of which nothing is said": ({"email_verified": None}, 401),
    "verified in words": ({"email_verified": "true"}, 401),
    "another issuer": ({"iss": "https://evil.example"}, 401),
    "no issuer": ({"iss": None}, 401),
    "for another program": ({"aud": "other"}, 401),
    "for several, and asked for by another": ({"aud": [CLIENT, "other"], "azp": "other"}, 401),
    "for several, without who asked": ({"aud": [CLIENT, "other"]}, 401),
    "expired": ({"exp": 1_700_000_000}, 401),
    "without an end": ({"exp": None}, 401),
    "of the future": ({"iat": 4_000_000_000, "exp": 4_000_000_300}, 401),
    "of another sign-in": ({"nonce": "other"}, 401),
    "of no sign-in": ({"nonce": None}, 401),
    "without a subject": ({"sub": None}, 401),
}


@pytest.mark.parametrize("case", CLAIMS)
async def test_a_token_that_tells_no_member_signs_nobody_in(case: str, tmp_path: Path) -> None:
    claims, status = CLAIMS[case]
    async with company_console(tmp_path) as company, company.console.browser() as browser:
        company.provider.claims.update(claims)
        refused = await browser.get(BEGIN)
        assert (refused.status, refused.mistake != "") == (status, True)
        assert (browser.cookie(PLAIN_COOKIE), browser.cookie(DEPARTURE)) == ("", "")


@pytest.mark.parametrize(
    ("fault", "status"), [("error", 401), ("other_key", 401), ("unsigned", 401), ("down", 503)]
)
async def test_a_provider_that_fails_signs_nobody_in_and_a_password_still_does(
    fault: str, status: int, tmp_path: Path
) -> None:
    async with company_console(tmp_path) as company, company.console.browser() as browser:
        company.provider.faults.add(fault)
        refused = await browser.get(BEGIN)
        assert (refused.status, refused.mistake != "") == (status, True)
        assert browser.cookie(PLAIN_COOKIE) == ""
        assert is_signed_in(browser, await browser.sign_in(email_of("owner")))


async def test_nobody_comes_back_from_the_sign_in_of_another_browser(tmp_path: Path) -> None:
    async with company_console(tmp_path) as company:
        console = company.console
        async with console.browser() as own, console.browser() as other:
            first = await own.session.get(f"{console.base}{BEGIN}", allow_redirects=False)
            back = await own.session.get(first.headers["location"], allow_redirects=False)
            returned = URL(back.headers["location"])
            without = await other.get(returned.path_qs)
            assert (without.status, other.cookie(PLAIN_COOKIE)) == (401, "")
            await other.session.get(f"{console.base}{BEGIN}", allow_redirects=False)
            mixed = await other.get(returned.path_qs)
            assert (mixed.status, other.cookie(PLAIN_COOKIE)) == (401, "")
            assert is_signed_in(own, await own.get(returned.path_qs))
            again = await own.get(returned.path_qs)
            assert again.status == 401


@pytest.mark.parametrize("cookie", ["x", "e30=", "\u00fc", "bnVsbA==", 5_000 * "A"])
async def test_a_cookie_that_is_not_ours_is_refused(cookie: str, tmp_path: Path) -> None:
    async with company_console(tmp_path) as company, company.console.browser() as browser:
        refused = await browser.get(
            "/sign-in/company/back?code=1&state=1", cookie=f"{DEPARTURE}={cookie.encode().decode('latin-1')}"
        )
        assert refused.status == 401


async def test_keys_that_the_provider_has_changed_are_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboards.console.identity_provider.NEW_KEYS_S", 0.0)
    async with company_console(tmp_path) as company:
        for _ in range(2):
            async with company.console.browser() as browser:
                assert is_signed_in(browser, await browser.get(BEGIN))
            company.provider.change_keys()
    assert company.provider.readings == 2


async def test_a_token_with_a_key_that_nobody_knows_does_not_have_the_keys_read_each_time(
    tmp_path: Path,
) -> None:
    async with company_console(tmp_path) as company:
        company.provider.faults.add("other_key")
        for _ in range(3):
            async with company.console.browser() as browser:
                assert (await browser.get(BEGIN)).status == 401
    assert company.provider.readings == 1


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"console_oidc_issuer": "http://id.example"}, "console_oidc_issuer"),
        (
            {"console_oidc_issuer": "https://id.example"},
            "_ORIGIN and PHONEMETER_CONSOLE_OIDC_CLIENT_ID and PHONEMETER_CONSOLE_OIDC_SECRET_FILE is not",
        ),
    ],
    ids=["without TLS", "alone"],
)
def test_a_provider_is_set_with_all_that_it_needs_or_not_at_all(given: dict[str, str], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        ConsoleSettings(**given)  # type: ignore[arg-type] # checked by pydantic
