"""Renewed certificates are taken up by clients that run; files that did not change are not loaded again."""

import shutil
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from kafka_access.access import Tls
from kafka_access.renewed_context import RenewedContext
from tests.brokers.authority import Authority, Credential

HOST = "127.0.0.1"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """The authority that signed everything."""
    return Authority(tmp_path / "authority")


@pytest.fixture
def tls(authority: Authority, tmp_path: Path) -> Tls:
    """The TLS of a client whose files are copies."""
    tls = Tls(tmp_path / "ca.pem", tmp_path / "certificate.pem", tmp_path / "key.pem")
    renew(tls, authority, authority.issue("first"))
    return tls


def renew(tls: Tls, authority: Authority, own: Credential) -> None:
    assert tls.ca_file
    assert tls.certificate_file
    assert tls.key_file
    shutil.copy(authority.file, tls.ca_file)
    shutil.copy(own.certificate, tls.certificate_file)
    shutil.copy(own.key, tls.key_file)


@pytest.fixture
def port(authority: Authority) -> Iterator[int]:
    """A listener that answers each client with the name in its certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.file)
    context.verify_mode = ssl.CERT_REQUIRED
    own = authority.issue("server")
    context.load_cert_chain(own.certificate, own.key)
    listener = socket.create_server((HOST, 0))
    number = listener.getsockname()[1]

    def serve() -> None:
        while True:
            connection, _ = listener.accept()
            with connection:
                if not connection.recv(1, socket.MSG_PEEK):
                    return
                with suppress(OSError), context.wrap_socket(connection, server_side=True) as secured:
                    subject = (secured.getpeercert() or {})["subject"]
                    secured.sendall(str(subject).encode())

    thread = threading.Thread(target=serve)
    thread.start()
    yield number
    socket.create_connection((HOST, number)).close()
    thread.join()
    listener.close()


def name_seen(context: ssl.SSLContext, port: int) -> str:
    opened = socket.create_connection((HOST, port))
    with closing(context.wrap_socket(opened, server_hostname=HOST)) as secured:
        return secured.recv(1_000).decode()


def test_the_files_are_loaded_once_while_they_are_as_they_were(tls: Tls, authority: Authority) -> None:
    first = tls.context()
    assert tls.context() is replace(tls).context() is first
    renew(tls, authority, authority.issue("second"))
    second = tls.context()
    assert second is not first
    assert tls.context() is second


def test_the_next_connection_has_the_renewed_certificate_and_the_old_one_while_a_file_is_broken(
    tls: Tls, authority: Authority, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    context = RenewedContext(tls)
    assert "first" in name_seen(context, port)
    renew(tls, authority, authority.issue("second"))
    assert "second" in name_seen(context, port)
    assert caplog.messages == []
    assert tls.certificate_file
    tls.certificate_file.write_text("half of it")
    assert "second" in name_seen(context, port)
    assert [one.endswith("; the files before are used") for one in caplog.messages] == [True]
    renew(tls, authority, authority.issue("third"))
    assert "third" in name_seen(context, port)


def test_a_ca_that_was_taken_away_is_trusted_no_more(
    tls: Tls, authority: Authority, port: int, tmp_path: Path
) -> None:
    context = RenewedContext(tls)
    assert "first" in name_seen(context, port)
    renew(tls, Authority(tmp_path / "other", "Other"), authority.issue("second"))
    with pytest.raises(ssl.SSLCertVerificationError):
        name_seen(context, port)
