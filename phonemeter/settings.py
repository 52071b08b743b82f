"""Every setting of phonemeter: from the environment, files of secrets, a TOML file, or the defaults."""

import difflib
import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote, urlsplit

from pydantic import ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings.exceptions import SettingsError as SourceError

from dashboards.console.settings import ConsoleSettings
from dashboards.http.settings import ReadsSettings
from dashboards.wechat_pay.settings import WechatPaySettings
from phonemeter.errors import UserError
from phonemeter.program_settings import AuditSettings, BusinessSettings, LogSettings, StackSettings
from producers.gateway.settings import GatewaySettings
from producers.settings import ProducerSettings
from producers.wechat.settings import WechatSettings
from sinks.balances.settings import RouteSettings
from sinks.clickhouse_address import on_cluster
from sinks.cluster import DEFAULT_REPLICA_PATH
from sinks.notifier.settings import NotifierSettings
from sinks.settings import SinkSettings
from sinks.settler.settings import SettlerSettings
from streams.settings import WorkerSettings

PREFIX: Final = "PHONEMETER_"
CONFIG_VARIABLE: Final = "PHONEMETER_CONFIG"
SECRETS_VARIABLE: Final = "PHONEMETER_SECRETS"
"""Directory of files, each named as the variable of a setting, in lower case, with its value."""

TOLD_ALL: Final = {CONFIG_VARIABLE: "", SECRETS_VARIABLE: ""}
"""Variables of a child process that is told all settings by its environment: it reads no files."""

DEBUG_VARIABLE: Final = "PHONEMETER_DEBUG"
"""If it is set, the command line prints the traceback of an error."""

CONFIG_FILE: Final = Path("phonemeter.toml")
VALUE_CHARS_MAX: Final = 100


class SettingsError(UserError):
    """A setting is unknown or has a value that it cannot have."""


class Settings(
    WorkerSettings,
    SinkSettings,
    SettlerSettings,
    NotifierSettings,
    AuditSettings,
    WechatSettings,
    GatewaySettings,
    ReadsSettings,
    RouteSettings,
    ConsoleSettings,
    WechatPaySettings,
    ProducerSettings,
    BusinessSettings,
    LogSettings,
    StackSettings,
):
    """All settings of all stages and of the one-machine stack, so each stage accepts it as its own. Frozen.

    Build it with `load`. Kafka and ClickHouse default to the stack's own, on loopback.
    """

    model_config = SettingsConfigDict(title="phonemeter settings")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then the files of secrets, then the TOML file."""
        del dotenv_settings, file_secret_settings
        return (
            init_settings,
            env_settings,
            SecretsSettingsSource(settings_cls, secrets_dir=secrets_directory()),
            TomlConfigSettingsSource(settings_cls, toml_file=config_file()),
        )

    @model_validator(mode="before")
    @classmethod
    def _follow_the_stack(cls, given: dict[str, Any]) -> dict[str, Any]:
        given = {
            "kafka": stack_kafka(given.get("kafka_port", cls.model_fields["kafka_port"].default)),
            "clickhouse": stack_clickhouse(
                given.get("engine_native_port", cls.model_fields["engine_native_port"].default),
                str(given.get("engine_password", "")),
            ),
            **given,
        }
        cluster = str(given.get("clickhouse_cluster", ""))
        path = str(given.get("clickhouse_replica_path", DEFAULT_REPLICA_PATH))
        for name in ("clickhouse", "reads_clickhouse"):
            # Whoever has the URL then knows the cluster: reads, commands and stages alike.
            if isinstance(given.get(name), str):
                given[name] = on_cluster(given[name], cluster, path)
        return given

    def to_environ(self) -> dict[str, str]:
        """The environment variables from which a child process reads the same settings."""
        environ = {}
        for name, value in self.model_dump(mode="json", exclude_none=True).items():
            own = getattr(self, name)
            if isinstance(own, Path):
                text = str(own.absolute())
            else:
                text = value if isinstance(value, str) else json.dumps(value)
            environ[variable(name)] = text
        return environ

    @property
    def business_url(self) -> str:
        """URL of the business database: the one that is set, or SQLite in the data directory."""
        return (
            self.business_database or f"sqlite:///{self.data_dir.absolute() / 'business' / 'business.sqlite'}"
        )

    @property
    def runs_notifier(self) -> bool:
        """True if somebody may have set up whom alerts reach."""
        return self.console_recipients or self.alert_routes is not None

    def replaced(self, **changes: object) -> Self:
        """A copy with some settings changed, validated like any other."""
        return type(self)(**{**self.model_dump(), **changes})


def without_password(url: str) -> str:
    """A URL without its password, for display."""
    password = urlsplit(url).password
    return url.replace(f":{password}@", ":***@", 1) if password else url


def stack_kafka(port: object) -> str:
    """Bootstrap server of the stack's own broker."""
    return f"127.0.0.1:{port}"


def stack_clickhouse(native_port: object, password: str = "") -> str:
    """URL of the ledger's database in the stack's own engine."""
    secret = f":{quote(password, safe='')}" if password else ""
    return f"clickhouse://default{secret}@127.0.0.1:{native_port}/phonemeter"


def variable(name: str) -> str:
    """Environment variable of a setting."""
    return f"{PREFIX}{name.upper()}"


def named(name: str) -> str:
    """The name of a setting in messages: environment variable and key of the file."""
    return f"{variable(name)} ({name} in {CONFIG_FILE.name})"


def hints_of(field: FieldInfo) -> Mapping[str, object]:
    """The hints on a setting: `expected` describes its values, and a `secret` one is not shown."""
    return field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}


def config_file() -> Path:
    """The TOML file to read: the one in PHONEMETER_CONFIG, or phonemeter.toml in the working directory."""
    return Path(os.environ.get(CONFIG_VARIABLE) or CONFIG_FILE)


def secrets_directory() -> Path | None:
    """The directory of secrets that PHONEMETER_SECRETS names."""
    named_by_environment = os.environ.get(SECRETS_VARIABLE)
    return Path(named_by_environment) if named_by_environment else None


def load(**overrides: object) -> Settings:
    """The settings of this process; `overrides` take precedence over the environment.

    Raises:
        SettingsError: a variable, a key or a value is wrong; each mistake is one sentence on its own line.
    """
    _refuse_missing_files()
    unknown = [*_unknown_variables(), *_unknown_secrets()]
    try:
        settings = Settings(**overrides)  # type: ignore[arg-type] # validated right here, by pydantic
    except ValidationError as error:
        raise SettingsError("\n".join([*unknown, *(_sentence(one) for one in error.errors())])) from None
    except SourceError as error:
        raise SettingsError(f"The settings cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"The file {config_file()} is not valid TOML: {error}") from None
    if unknown:
        raise SettingsError("\n".join(unknown))
    return settings


def _refuse_missing_files() -> None:
    if os.environ.get(CONFIG_VARIABLE) and not config_file().is_file():
        raise SettingsError(
            f"{CONFIG_VARIABLE} names {config_file()}, which is not a file: correct it or unset it."
        )
    directory = secrets_directory()
    if directory is not None and not (directory.is_dir() and os.access(directory, os.R_OK | os.X_OK)):
        raise SettingsError(
            f"{SECRETS_VARIABLE} names {directory}, which is no directory that can be read here: correct it "
            "or unset it."
        )


def _unknown_variables() -> list[str]:
    known = {*_variables(), CONFIG_VARIABLE, SECRETS_VARIABLE, DEBUG_VARIABLE}
    return [
        f"{name} in the environment is not a setting.{_nearest(name, sorted(known))}"
        for name in sorted(os.environ)
        if name.startswith(PREFIX) and name.upper() not in known
    ]


def _unknown_secrets() -> list[str]:
    """Sentences about files of secrets that are named as a setting and are none; others are not ours."""
    directory = secrets_directory()
    known = {name.lower() for name in _variables()}
    names = sorted(file.name for file in directory.iterdir()) if directory is not None else []
    return [
        f"The file {name} in {directory} is not a setting.{_nearest(name, sorted(known))}"
        for name in names
        if name.lower().startswith(PREFIX.lower()) and name.lower() not in known
    ]


def _variables() -> set[str]:
    return {variable(name) for name in Settings.model_fields}


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f" Did you mean {close[0]}?" if close else " List them with: phonemeter settings"


def _sentence(error: ErrorDetails) -> str:
    if not error["loc"]:
        return error["msg"].removeprefix("Value error, ")
    name = str(error["loc"][0])
    if error["type"] == "extra_forbidden":
        return f"{name} in {config_file()} is not a setting.{_nearest(name, sorted(Settings.model_fields))}"
    field = Settings.model_fields[name]
    hints = hints_of(field)
    found = _found(error["input"], field)
    if error["type"] == "value_error":
        return f"{named(name)} {found}: {error['msg'].removeprefix('Value error, ')}"
    said = error["msg"].removeprefix("Input should ").split(", unable")[0]
    expected = f"be {hints['expected']}" if "expected" in hints else said
    return f"{named(name)} {found}; it should {expected}."


def _found(value: object, field: FieldInfo) -> str:
    if hints_of(field).get("secret"):
        return "has a value that is not repeated here because it may hold a password"
    text = repr(value)
    return f"is {text if len(text) <= VALUE_CHARS_MAX else text[:VALUE_CHARS_MAX] + '...'}"
