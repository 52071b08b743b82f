"""Addresses of ClickHouse, and TLS to the engine with certificates of an authority of the tests' own."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from phonemeter.clickhouse import ClickHouseError, ledger_client
from phonemeter.reads.connection import ReadOnlyConnection
from sinks.clickhouse_address import AddressError, ClickHouseAddress
from sinks.connection import FAILURES, connect, rows, sentence
from sinks.errors import ClickHouseError as StageError
from sinks.ledger_table import LedgerTable
from sinks.migrations import migrate
from sinks.native_client import NativeClient
from sinks.position import BEFORE_ALL
from sinks.settler.ledger import SettlerLedger
from tests.brokers.authority import Authority, Credential
from tests.conftest import RunningEngine
from tests.sinks.tls import tls_in_front_of

DATABASE = "over_tls"


@dataclass(frozen=True)
class Secured:
    """The engine behind TLS, by a port that takes anyone and one that wants a client's certificate."""

    port: int
    strict_port: int
    authority: Authority
    client: Credential

    def url(self, *, host: str = "127.0.0.1", strict: bool = False, **parameters: object) -> str:
        query = "&".join(f"{name}={quote(str(value))}" for name, value in parameters.items())
        return f"clickhouses://default@{host}:{self.strict_port if strict else self.port}/{DATABASE}?{query}"


@pytest.fixture(scope="module")
def secured(engine: RunningEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    authority = Authority(tmp_path_factory.mktemp("authority"))
    server = authority.issue("clickhouse", ["127.0.0.1"])
    with (
        tls_in_front_of(engine.native_port, server) as port,
        tls_in_front_of(engine.native_port, server, clients_of=authority.file) as strict_port,
    ):
        yield Secured(port, strict_port, authority, authority.issue("sink"))


def refusal(url: str) -> str:
    """The sentence of a connection that must fail."""
    with pytest.raises(FAILURES) as refused, connect(url, database="default") as client:
        rows(client, "SELECT 1")
    said = sentence(refused.value)
    assert "\n" not in said
    assert "_ssl.c" not in said
    return said


def test_every_client_of_clickhouse_works_over_tls_with_the_authority_s_file(secured: Secured) -> None:
    url = secured.url(ca_certs=secured.authority.file)
    migrate(url)
    table = LedgerTable(url)
    settler = SettlerLedger(url)
    reader = ReadOnlyConnection(url, 5.0)
    try:
        assert table.position(0) == BEFORE_ALL
        assert settler.newest_settlements() == {}
        assert reader.rows("SELECT count() FROM ledger", None, 5.0) == [(0,)]
        with ledger_client(url) as client, connect(url, NativeClient) as native:
            assert rows(client, "SELECT count() FROM ledger") == rows(native, "SELECT 0")
    finally:
        table.close()
        settler.close()
        reader.close()


def test_a_client_s_certificate_is_given_to_a_server_that_wants_one(secured: Secured) -> None:
    given: dict[str, Any] = {"certfile": secured.client.certificate, "keyfile": secured.client.key}
    url = secured.url(strict=True, ca_certs=secured.authority.file, **given)
    with connect(url, database="default") as client:
        assert rows(client, "SELECT 1") == [(1,)]
    # The alert arrives, or only the end of the connection, which outran it.
    assert "certificate" in refusal(secured.url(strict=True, ca_certs=secured.authority.file))


def test_what_is_wrong_with_tls_is_one_sentence_that_says_what_to_do(
    secured: Secured, engine: RunningEngine, tmp_path: Path
) -> None:
    other = Authority(tmp_path / "other")
    assert "not trusted: name its file in the URL (ca_certs) (127.0.0.1:" in refusal(
        secured.url(ca_certs=other.file)
    )
    assert "not trusted" in refusal(secured.url())
    assert "another host name" in refusal(secured.url(host="localhost", ca_certs=secured.authority.file))
    assert "this port has no TLS" in refusal(f"clickhouses://default@127.0.0.1:{engine.native_port}/default")
    assert "clickhouses://" in refusal(secured.url().replace("clickhouses:", "clickhouse:"))
    late = secured.authority.issue("late", ["127.0.0.1"], timedelta(hours=-1))
    with tls_in_front_of(engine.native_port, late) as port:
        expired = f"clickhouses://default@127.0.0.1:{port}/x?ca_certs={secured.authority.file}"
        assert "has expired" in refusal(expired)


def test_a_missing_or_broken_file_is_named_and_a_command_says_it_in_a_sentence(
    secured: Secured, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    missing = secured.url(ca_certs=tmp_path / "missing.pem")
    assert refusal(missing) == (
        f"the file {tmp_path}/missing.pem of the ClickHouse URL cannot be used: No such file or directory"
    )
    assert "holds no certificate" in refusal(secured.url(ca_certs=broken))
    assert "or its keyfile" in refusal(
        secured.url(ca_certs=secured.authority.file, certfile=secured.client.certificate)
    )
    said = r"ClickHouse at 127\.0\.0\.1:\d+ does not answer .*missing\.pem"
    with pytest.raises(ClickHouseError, match=said), ledger_client(missing):
        pass
    with pytest.raises(StageError, match=r"missing\.pem"):
        LedgerTable(missing).position(0)
    with pytest.raises(StageError, match=r"missing\.pem"):
        SettlerLedger(missing).newest_settlements()


def test_the_password_comes_from_a_file_and_is_read_at_each_connection(
    engine: RunningEngine, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    url = f"clickhouse://default@127.0.0.1:{engine.native_port}/default?password_file={file}"
    assert refusal(url) == (
        f"password_file of the ClickHouse URL: {file} has no secret that can be used "
        f"(No such file or directory); it must be a file that this user of the machine "
        f"may read, with the secret alone in one line"
    )
    file.write_text("wrong\n")
    assert "Authentication failed" in refusal(url)
    file.write_text("秘密&%\n")
    assert ClickHouseAddress.of(url).client_options()["password"] == "秘密&%"  # noqa: S105 - of this test
    for content in (b"\n", b"\xff"):
        file.write_bytes(content)
        with pytest.raises(AddressError, match=r"^password_file of"):
            ClickHouseAddress.of(url).client_options()
    with pytest.raises(AddressError, match="both a password and a password_file"):
        ClickHouseAddress.of(url.replace("default@", "default:x@")).client_options()


def test_parameters_of_the_driver_and_settings_of_queries_pass_through() -> None:
    address = ClickHouseAddress.of(
        "clickhouses://u:p%20q@h/db?ca_certs=/a.pem&alt_hosts=i:9440&max_execution_time=5&password_file=/p%26q"
    )
    assert address.place == "h:9440"
    assert address.database == "db"
    assert address.password_file == "/p&q"  # noqa: S105 - a path
    assert address.options == {
        "secure": True,
        "user": "u",
        "password": "p q",
        "database": "db",
        "ca_certs": "/a.pem",
        "alt_hosts": "i:9440",
        "settings": {"max_execution_time": "5"},
    }
    assert ClickHouseAddress.of("clickhouse://u@h/db").place == "h:9000"
