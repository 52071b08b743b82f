"""Certificates of the tests' authority, as TLS sees them."""

import ssl
from datetime import timedelta
from pathlib import Path

import pytest

from tests.brokers.authority import Authority, Credential


def shake_hands(trusted: Authority, shown: Credential, host: str) -> str:
    """Shake hands in memory; the common name that the client learns."""
    client, server = (ssl.SSLContext(kind) for kind in (ssl.PROTOCOL_TLS_CLIENT, ssl.PROTOCOL_TLS_SERVER))
    client.load_verify_locations(trusted.file)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    server.load_cert_chain(shown.certificate, shown.key)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(down, up, server_hostname=host),
        server.wrap_bio(up, down, server_side=True),
    )
    open_ends = list(ends)
    while open_ends:
        for end in tuple(open_ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            open_ends.remove(end)
    found = ends[0].getpeercert()
    assert found is not None
    names = dict(pair for group in found["subject"] for pair in group)  # type: ignore[misc]  # nested pairs
    return str(names["commonName"])


def test_a_certificate_is_good_for_its_hosts_its_time_and_its_authority(tmp_path: Path) -> None:
    ours, other = Authority(tmp_path / "ours"), Authority(tmp_path / "other", "Other")
    issued = ours.issue("broker")
    assert {shake_hands(ours, issued, host) for host in ("127.0.0.1", "localhost")} == {"broker"}
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        shake_hands(ours, issued, "127.0.0.2")
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get"):
        shake_hands(other, issued, "localhost")
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        shake_hands(ours, ours.issue("late", valid=timedelta(seconds=-1)), "localhost")
