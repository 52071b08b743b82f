import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from phonemeter.program_settings import StackSettings
from phonemeter.settings import PREFIX, Settings, SettingsError, load, variable
from producers.settings import ProducerSettings
from producers.wechat.settings import WechatSettings
from sinks.notifier.settings import NotifierSettings
from sinks.settings import SinkSettings
from streams.settings import WorkerSettings

STAGES = (
    WorkerSettings,
    SinkSettings,
    NotifierSettings,
    WechatSettings,
    ProducerSettings,
    StackSettings,
)


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory and no setting in the environment."""
    for name in os.environ:
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_environment_and_file_the_defaults_hold() -> None:
    settings = load()
    assert settings.kafka == "127.0.0.1:9092"
    assert settings.clickhouse == "clickhouse://default@127.0.0.1:9000/phonemeter"
    assert settings.billing_start == datetime(2023, 8, 25, 16, tzinfo=UTC)
    assert settings.trial_calls == 1000


def test_the_environment_comes_before_the_file_and_arguments_before_both(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (directory / "phonemeter.toml").write_text("partitions = 2\ntrial_calls = 2\ntick_interval_s = 2\n")
    monkeypatch.setenv("PHONEMETER_TRIAL_CALLS", "3")
    monkeypatch.setenv("PHONEMETER_TICK_INTERVAL_S", "3")
    settings = load(tick_interval_s=4)
    assert (settings.partitions, settings.trial_calls, settings.tick_interval_s) == (2, 3, 4)


def test_the_file_can_be_named_by_the_environment(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (directory / "other.toml").write_text("billing_start = 2023-08-28T00:00:00+08:00\n")
    monkeypatch.setenv("PHONEMETER_CONFIG", "other.toml")
    assert load().billing_start == datetime(2023, 8, 27, 16, tzinfo=UTC)


def test_a_named_file_that_is_missing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHONEMETER_CONFIG", "nowhere.toml")
    with pytest.raises(
        SettingsError,
        match=r"PHONEMETER_CONFIG names nowhere.toml, which is not a file: correct it or unset it\.",
    ):
        load()


def test_secrets_come_from_files_after_the_environment_and_before_the_file(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Kubernetes mounts them: each name is a link to a file in a directory that is exchanged whole."""
    (directory / "phonemeter.toml").write_text('business_database = "sqlite:////toml"\npartitions = 2\n')
    mounted = directory / "..data"
    mounted.mkdir()
    for name, value in {
        "clickhouse": "clickhouse://sink:secret@host/phonemeter",
        "partitions": "3",
    }.items():
        (mounted / f"phonemeter_{name}").write_text(f"{value}\n")
        (directory / f"phonemeter_{name}").symlink_to(f"..data/phonemeter_{name}")
    (directory / "tls.key").write_text("of others")
    monkeypatch.setenv("PHONEMETER_SECRETS", str(directory))
    assert load().clickhouse == "clickhouse://sink:secret@host/phonemeter"
    assert load().partitions == 3
    assert load().business_database == "sqlite:////toml"
    monkeypatch.setenv("PHONEMETER_PARTITIONS", "4")
    assert load().partitions == 4


def test_a_secret_that_is_no_setting_or_no_value_is_refused_without_its_content(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHONEMETER_SECRETS", "secrets")
    with pytest.raises(
        SettingsError, match=r"PHONEMETER_SECRETS names secrets, which is no directory that can"
    ):
        load()
    secrets = directory / "secrets"
    secrets.mkdir()
    (secrets / "phonemeter_clickhous").write_text("hidden")
    (secrets / "phonemeter_business_database").write_text("hidden")
    with pytest.raises(SettingsError) as caught:
        load()
    assert "hidden" not in str(caught.value)
    assert str(caught.value).startswith(
        "The file phonemeter_clickhous in secrets is not a setting. Did you mean phonemeter_clickhouse?\n"
        "PHONEMETER_BUSINESS_DATABASE (business_database in phonemeter.toml) has a value that is not repeated"
    )


def test_a_file_that_is_not_toml_is_named(directory: Path) -> None:
    (directory / "phonemeter.toml").write_text("partitions four\n")
    with pytest.raises(SettingsError, match=r"phonemeter.toml is not valid TOML: .*line 1"):
        load()


def test_an_unknown_variable_names_the_nearest_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHONEMETER_TRAIL_CALLS", "3")
    with pytest.raises(SettingsError) as caught:
        load()
    assert str(caught.value) == (
        "PHONEMETER_TRAIL_CALLS in the environment is not a setting. Did you mean PHONEMETER_TRIAL_CALLS?"
    )


def test_an_unknown_key_names_the_nearest_setting(directory: Path) -> None:
    (directory / "phonemeter.toml").write_text("trail_calls = 3\n")
    with pytest.raises(SettingsError) as caught:
        load()
    assert str(caught.value) == "trail_calls in phonemeter.toml is not a setting. Did you mean trial_calls?"


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        (
            "partitions",
            "many",
            "PHONEMETER_PARTITIONS (partitions in phonemeter.toml) is 'many'; it should be a valid integer.",
        ),
        (
            "partitions",
            "0",
            (
                "PHONEMETER_PARTITIONS (partitions in phonemeter.toml) is '0'; "
                "it should be greater than or equal to 1."
            ),
        ),
        (
            "trial_scope",
            "app",
            (
                "PHONEMETER_TRIAL_SCOPE (trial_scope in phonemeter.toml) is 'app'; "
                "it should be 'account' or 'capability'."
            ),
        ),
        (
            "kafka",
            "localhost",
            (
                "PHONEMETER_KAFKA (kafka in phonemeter.toml) is 'localhost'; "
                "it should be HOST:PORT, several of them separated by commas."
            ),
        ),
        (
            "billing_start",
            "2023-08-26T00:00:00",
            (
                "PHONEMETER_BILLING_START (billing_start in phonemeter.toml) is '2023-08-26T00:00:00'; "
                "it should be a time with its UTC offset, for example 2023-08-26T00:00:00+08:00."
            ),
        ),
    ],
)
def test_a_wrong_value_is_told_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(variable(name), value)
    with pytest.raises(SettingsError) as caught:
        load()
    assert str(caught.value) == sentence


def test_a_wrong_value_that_may_hold_a_password_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHONEMETER_CLICKHOUSE", "https://me:hunter2@example.com")
    with pytest.raises(SettingsError, match="it should be a URL of the form") as caught:
        load()
    assert "hunter2" not in str(caught.value)


def test_every_mistake_has_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHONEMETER_PARTITIONS", "x")
    monkeypatch.setenv("PHONEMETER_TRIAL_CALLS", "y")
    monkeypatch.setenv("PHONEMETER_NONSENSE", "z")
    with pytest.raises(SettingsError) as caught:
        load()
    assert len(str(caught.value).splitlines()) == 3


def test_kafka_and_clickhouse_follow_the_ports_of_the_stack_unless_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PHONEMETER_KAFKA_PORT", "19092")
    monkeypatch.setenv("PHONEMETER_ENGINE_NATIVE_PORT", "19000")
    assert load().kafka == "127.0.0.1:19092"
    assert load().clickhouse == "clickhouse://default@127.0.0.1:19000/phonemeter"
    assert load(kafka="broker:9092").kafka == "broker:9092"


def test_a_child_process_reads_the_same_settings_from_its_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = load(clock="events", data_dir=Path("there"), billing_start="2023-08-28T00:00:00+08:00")
    for name, value in settings.to_environ().items():
        monkeypatch.setenv(name, value)
    assert load() == settings.replaced(data_dir=Path("there").absolute())


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load().partitions = 8  # type: ignore[misc] # that it is refused is the test


def test_a_setting_that_stages_share_means_the_same_in_each() -> None:
    for name in Settings.model_fields:
        declared = [stage.model_fields[name] for stage in STAGES if name in stage.model_fields]
        assert all(repr(one) == repr(declared[0]) for one in declared), name


def test_every_setting_has_a_description_and_a_default() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert not field.is_required(), name
