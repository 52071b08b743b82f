"""The file of apps: what it says, and each mistake in one sentence with file, key and remedy."""

from pathlib import Path

import pytest

from producers.wechat.apps import default_prices
from producers.wechat.apps_file import read_apps
from producers.wechat.errors import WechatFileError
from tests.producers.wechat.parts import AES_KEY, APP, APP_SECRET, OTHER, PLATFORM, everything_logged

OWN = f'[apps.{APP}]\nsecret = "env:TEST_SECRET"\n'
PLATFORM_TABLE = f'[components.{PLATFORM}]\nsecret = "env:TEST_SECRET"\nticket = "file:ticket"\n'
AUTHORIZED = f'[apps.{OTHER}]\ncomponent = "{PLATFORM}"\nrefresh_token = "file:refresh"\n'


@pytest.fixture(autouse=True)
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_SECRET", APP_SECRET)
    monkeypatch.setenv("TEST_KEY", AES_KEY)
    (tmp_path / "refresh").write_text("refresh-1\n")


def written(directory: Path, text: str) -> Path:
    path = directory / "apps.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_an_app_with_a_secret_and_one_of_a_platform(tmp_path: Path) -> None:
    pushed = 'push_token = "env:TEST_SECRET"\npush_aes_key = "env:TEST_KEY"\n'
    text = f'{OWN}capabilities = ["quick", "realtime"]\n{pushed}{AUTHORIZED}{PLATFORM_TABLE}'
    found = read_apps(written(tmp_path, text))
    own, authorized = found.apps[APP], found.apps[OTHER]
    assert own.capabilities == ("quick", "realtime")
    assert own.secret is not None
    assert own.secret.read() == APP_SECRET
    assert authorized.refresh_token is not None
    assert (authorized.capabilities, authorized.component) == (("quick",), PLATFORM)
    assert found.push_keys(APP) is not None
    assert found.push_keys(OTHER) is None
    assert found.has_pushes


def test_a_secret_in_a_file_is_read_when_it_is_needed(tmp_path: Path) -> None:
    found = read_apps(written(tmp_path, AUTHORIZED + PLATFORM_TABLE))
    refresh_token, ticket = found.apps[OTHER].refresh_token, found.components[PLATFORM].ticket
    assert refresh_token is not None
    assert ticket is not None
    (tmp_path / "refresh").write_text("refresh-2\n")
    (tmp_path / "ticket").write_text("ticket-1\n")
    assert (refresh_token.read(), ticket.read()) == ("refresh-2", "ticket-1")


def test_prices_come_before_the_catalogues(tmp_path: Path) -> None:
    terms = "calls = 1000\nvalidity_days = 365\n"
    price = f'[[prices]]\ncapability = "realtime"\n{terms}price_micro_yuan = 40_000_000\n'
    own = f'[[prices]]\ncapability = "quick"\n{terms}price_micro_yuan = 1\n'
    prices = read_apps(written(tmp_path, f"{OWN}{price}{own}")).prices
    assert prices["realtime", 1_000, 365] == 40_000_000
    assert prices["quick", 1_000, 365] == 1
    assert prices.keys() - {("realtime", 1_000, 365)} == default_prices().keys()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "there are 0 apps; name 1 to 1,000, each in a table [apps.APPID]."),
        ("x = 1\n", "x is none of apps, components, prices; remove it, or correct its name."),
        ("[apps\n", "is not valid TOML: "),
        ("apps = 1\n", "apps is not a table; write [apps.APPID] above each entry."),
        ('[apps."wx 1"]\nsecret = "env:X"\n', "apps.wx 1: an appid is 1 to 64 letters, digits, hyphens or"),
        (f"{OWN}[prices]\na = 1\n", "prices is not a list; write [[prices]] above each entry."),
        (
            f"{OWN}[[prices]]\ncalls = 1\n",
            "prices[0]: object missing required field `capability`; correct it",
        ),
        (f"{OWN}secre = 1\n", f"apps.{APP}.secre is unknown; did you mean secret?"),
        (
            f'{OWN}capabilities = ["slow"]\n',
            f"apps.{APP}.capabilities[0]: invalid enum value 'slow'; correct",
        ),
        (
            f"{OWN}capabilities = []\n",
            f'apps.{APP}.capabilities: name each once, such as ["quick", "realtime"].',
        ),
        (f"[apps.{APP}]\n", f"apps.{APP}: an app has either a secret of its own or a component"),
        (f'{OWN}component = "x"\n', f"apps.{APP}: an app has either a secret of its own or a component"),
        (f'{OWN}refresh_token = "env:X"\n', f"apps.{APP}.refresh_token: it belongs to a component, and"),
        (
            AUTHORIZED,
            f"apps.{OTHER}.component: there is no [components.{PLATFORM}]; add it, or correct the name.",
        ),
        (
            f'{AUTHORIZED}[components.{PLATFORM}]\nsecret = "env:TEST_SECRET"\n',
            f"components.{PLATFORM}: WeChat gives a platform its tokens for a component_verify_ticket; say",
        ),
        (
            f'{AUTHORIZED}{PLATFORM_TABLE}push_token = "env:TEST_SECRET"\n',
            f"components.{PLATFORM}.push_aes_key: WeChat encrypts all that it pushes to a third-party",
        ),
        (
            f'{OWN}[components.{APP}]\nsecret = "env:TEST_SECRET"\nticket = "file:x"\n',
            f"{APP} is an app and a component; they have different appids.",
        ),
        (
            f'[apps.{APP}]\nsecret = "{APP_SECRET}"\n',
            f'apps.{APP}.secret: a secret is not written here; write "env:NAME" or "file:PATH".',
        ),
        (
            f'[apps.{APP}]\nsecret = "env:NO_SUCH"\n',
            f"apps.{APP}.secret: the environment has no NO_SUCH; set it where this program is started.",
        ),
        (
            f'[apps.{APP}]\nsecret = "file:nowhere"\n',
            "nowhere has no secret that can be used (No such file or directory); it must be a file",
        ),
        (
            f'{OWN}push_aes_key = "env:TEST_KEY"\n',
            f"apps.{APP}.push_token: pushes are signed by a token; refer",
        ),
        (
            f'{OWN}push_token = "env:TEST_SECRET"\npush_aes_key = "env:TEST_SECRET"\n',
            f"apps.{APP}.push_aes_key: that is no EncodingAESKey, which has 43 letters and digits; copy",
        ),
    ],
)
def test_a_mistake_is_one_sentence_without_a_secret(tmp_path: Path, text: str, sentence: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(WechatFileError) as caught:
        read_apps(path)
    assert str(path) in str(caught.value) or str(tmp_path) in str(caught.value)
    assert sentence in str(caught.value)
    assert APP_SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_missing_is_told_with_the_setting(tmp_path: Path) -> None:
    with pytest.raises(WechatFileError, match=r"can't be read .*set PHONEMETER_WECHAT_APPS"):
        read_apps(tmp_path / "nowhere.toml")


@pytest.mark.parametrize("content", ["", "two\nlines\n", "x" * 20_000])
def test_what_is_not_one_line_is_no_secret(tmp_path: Path, content: str) -> None:
    (tmp_path / "secret").write_text(content)
    with pytest.raises(WechatFileError, match="no secret that can be used"):
        read_apps(written(tmp_path, f'[apps.{APP}]\nsecret = "file:secret"\n'))


def test_what_is_read_shows_no_secret(tmp_path: Path) -> None:
    pushed = 'push_token = "env:TEST_SECRET"\npush_aes_key = "env:TEST_KEY"\n'
    with everything_logged() as lines:
        found = read_apps(written(tmp_path, OWN + pushed + AUTHORIZED + PLATFORM_TABLE))
    for secret in (APP_SECRET, AES_KEY, "refresh-1"):
        assert secret not in repr(found) + "\n".join(lines)
