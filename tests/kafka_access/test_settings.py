"""The settings of the access to Kafka: what fits together makes an access, what does not is one sentence."""

from pathlib import Path

import pytest

from kafka_access.access import KafkaAccess, KafkaAccessError, Login, Tls, TokenEndpoint
from phonemeter.settings import SettingsError, load
from sinks.settings import ServiceSettings
from streams.settings import WorkerSettings


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file with a secret, as editors end it."""
    file = tmp_path / "secret"
    file.write_text("pass word\n")
    return file


def test_without_settings_brokers_are_plaintext_and_names_have_no_prefix() -> None:
    assert load().kafka_access == KafkaAccess("127.0.0.1:9092")


def test_every_stage_has_the_access_that_was_set(monkeypatch: pytest.MonkeyPatch, secret: Path) -> None:
    monkeypatch.setenv("PHONEMETER_KAFKA", "a:1,b:2")
    monkeypatch.setenv("PHONEMETER_KAFKA_SECURITY", "sasl_tls")
    monkeypatch.setenv("PHONEMETER_KAFKA_USER", "meter")
    monkeypatch.setenv("PHONEMETER_KAFKA_PASSWORD_FILE", str(secret))
    monkeypatch.setenv("PHONEMETER_KAFKA_CHECK_HOST_NAME", "false")
    monkeypatch.setenv("PHONEMETER_KAFKA_PREFIX", "crm.")
    expected = KafkaAccess(
        "a:1,b:2",
        "crm.",
        Tls(check_host_name=False),
        Login("SCRAM-SHA-512", "meter", password_file=secret),
    )
    for settings in (load(), WorkerSettings(), ServiceSettings()):
        assert settings.kafka_access == expected
    assert expected.protocol == "SASL_SSL"
    assert expected.login is not None
    assert expected.login.password() == "pass word"
    assert expected.topic("phone-events") == "crm.phone-events"


def test_a_password_is_neither_shown_nor_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHONEMETER_KAFKA_SECURITY", "sasl_plaintext")
    monkeypatch.setenv("PHONEMETER_KAFKA_USER", "meter")
    monkeypatch.setenv("PHONEMETER_KAFKA_PASSWORD", "hidden-one")
    settings = load()
    assert "hidden-one" not in f"{settings!r} {settings.kafka_access!r}"
    assert "hidden-one" in settings.to_environ().values()
    monkeypatch.setenv("PHONEMETER_KAFKA_SECURITY", "plaintext")
    with pytest.raises(SettingsError) as refused:
        load()
    assert "hidden-one" not in str(refused.value)


def test_a_token_endpoint_needs_its_client(secret: Path) -> None:
    url = "https://id.example/token"
    given = {"kafka_security": "sasl_tls", "kafka_sasl_mechanism": "OAUTHBEARER", "kafka_token_url": url}
    with pytest.raises(
        SettingsError, match=r"TOKEN_CLIENT and PHONEMETER_KAFKA_TOKEN_SECRET_FILE as well\.$"
    ):
        load(**given)
    complete = {**given, "kafka_token_client": "meter", "kafka_token_secret_file": secret}
    access = load(**complete).kafka_access
    endpoint = TokenEndpoint(url, "meter", secret)
    assert access.login == Login("OAUTHBEARER", endpoint=endpoint)
    assert endpoint.secret() == "pass word"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"kafka_ca_file": "F"}, "KAFKA_CA_FILE is for TLS, but PHONEMETER_KAFKA_SECURITY is plaintext"),
        ({"kafka_user": "x", "kafka_security": "tls"}, "KAFKA_USER is for a login, but"),
        ({"kafka_security": "sasl_tls"}, "set PHONEMETER_KAFKA_USER and PHONEMETER_KAFKA_PASSWORD_FILE as"),
        (
            {
                "kafka_security": "sasl_tls",
                "kafka_user": "x",
                "kafka_password": "y",
                "kafka_token_url": "http://z",
            },
            "KAFKA_TOKEN_URL is not used with PHONEMETER_KAFKA_SASL_MECHANISM=SCRAM-SHA-512",
        ),
        (
            {
                "kafka_security": "sasl_tls",
                "kafka_user": "x",
                "kafka_password": "y",
                "kafka_password_file": "F",
            },
            "PHONEMETER_KAFKA_PASSWORD and PHONEMETER_KAFKA_PASSWORD_FILE are both set",
        ),
        ({"kafka_security": "tls", "kafka_key_file": "F"}, "KAFKA_KEY_FILE needs PHONEMETER_KAFKA_CERT"),
        (
            {"kafka_security": "tls", "kafka_ca_file": "/nowhere"},
            "KAFKA_CA_FILE is /nowhere, which is no file",
        ),
        (
            {"kafka_security": "ssl"},
            "KAFKA_SECURITY (kafka_security in phonemeter.toml) is 'ssl'; it should be",
        ),
        (
            {"kafka_prefix": "a b"},
            "KAFKA_PREFIX (kafka_prefix in phonemeter.toml) is 'a b'; it should be at most",
        ),
    ],
)
def test_settings_that_cannot_be_right_are_refused_in_one_sentence(
    given: dict[str, str], told: str, secret: Path
) -> None:
    with pytest.raises(SettingsError) as refused:
        load(**{name: str(secret) if value == "F" else value for name, value in given.items()})
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)
    assert str(refused.value).count("PHONEMETER_KAFKA_PASSWORD=") == 0


def test_a_file_without_what_it_should_hold_is_named(secret: Path, tmp_path: Path) -> None:
    with pytest.raises(KafkaAccessError, match=f"^{secret} holds no certificates of a CA"):
        Tls(ca_file=secret).context()
    with pytest.raises(
        KafkaAccessError, match=f"^The client certificate {secret} with the key {secret} cannot"
    ):
        Tls(certificate_file=secret).context()
    empty = tmp_path / "empty"
    empty.touch()
    for file, told in ((empty, "it is empty"), (tmp_path / "none", "No such file")):
        with pytest.raises(KafkaAccessError, match=told):
            Login("PLAIN", "x", password_file=file).password()
