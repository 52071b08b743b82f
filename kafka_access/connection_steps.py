"""The steps of a connection to a broker, one by one: each failure is a sentence that says what to change.

Client libraries tell most of these failures as a closed connection, and go on trying.
"""

import socket
import ssl
import struct
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final, Literal

from kafka_access.access import KafkaAccess, KafkaAccessError, Login, Tls
from kafka_access.tokens import forget_token

ConnectionStep = Literal["resolve", "connect", "tls", "login", "answer"]

TIMEOUT_S: Final = 5.0
ANSWER_BYTES_MAX: Final = 1_048_576

_API_VERSIONS, _SASL_HANDSHAKE, _SASL_AUTHENTICATE = (18, 0), (17, 1), (36, 0)
_UNSUPPORTED_MECHANISM: Final = 33
_EXPIRED, _NOT_YET_VALID = 10, 9
_OTHER_HOST: Final = frozenset({62, 64})
_UNKNOWN_CA: Final = frozenset({2, 18, 19, 20, 21})
"""Codes of OpenSSL's verification."""


class ConnectionStepError(KafkaAccessError):
    """A step of a connection failed; the message is a sentence without a full stop."""

    def __init__(self, step: ConnectionStep, sentence: str) -> None:
        super().__init__(sentence)
        self.step = step
        self.unreachable = step in {"resolve", "connect"}


def require_access(access: KafkaAccess, timeout_s: float = TIMEOUT_S, *, asking: bool = False) -> None:
    """Connect and log in to any of the brokers; without TLS and login only connect, unless `asking`.

    Raises:
        KafkaAccessError: none of the brokers lets us in; the sentence is that of the last.
    """
    failed: KafkaAccessError | None = None
    for address in access.addresses:
        try:
            take_steps(access, address, timeout_s, asking=asking or access.protocol != "PLAINTEXT")
        except KafkaAccessError as error:
            failed = error
        else:
            return
    if failed is not None:
        raise failed


def trouble(access: KafkaAccess) -> str:
    """A sentence that says why none of the brokers lets us in; empty if one does."""
    try:
        require_access(access, asking=True)
    except KafkaAccessError as error:
        return str(error)
    return ""


def forget_refused_token(access: KafkaAccess) -> None:
    """Throw away our token if brokers refuse it: client libraries say only that they do not connect."""
    if access.login is not None and access.login.endpoint is not None:
        trouble(access)


def take_steps(
    access: KafkaAccess,
    address: str,
    timeout_s: float = TIMEOUT_S,
    passed: Callable[[ConnectionStep, str], None] = lambda _step, _words: None,
    *,
    asking: bool = True,
) -> None:
    """Take each step of a connection to one broker; `passed` is called with each and words on it.

    `asking` sends a request on it, which proves that a broker listens with this security.

    Raises:
        ConnectionStepError: a step failed.
        KafkaAccessError: a file or the token endpoint failed.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    passed("resolve", ", ".join(_resolved(host, int(port))))
    with ExitStack() as closing:
        connection = closing.enter_context(_connected(host, int(port), timeout_s))
        passed("connect", address)
        if access.tls is not None:
            # The socket without TLS is closed with the one that takes it over.
            secured = closing.enter_context(_with_tls(access.tls, connection, host, address))
            passed("tls", f"{secured.version()}, {_certificate_in_words(secured)}")
            connection = secured
        if not asking:
            return
        exchange = _Exchange(connection, address)
        if access.login is not None:
            _log_in(access, access.login, exchange)
            passed("login", f"{access.login.who} by {access.login.mechanism}")
        exchange.ask("answer", _API_VERSIONS, b"")
        passed("answer", "it answers as a broker of Kafka")


def _resolved(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ConnectionStepError(
            "resolve",
            f"The name {host} in PHONEMETER_KAFKA cannot be resolved ({error.strerror or error}); correct "
            f"it, or have it entered in this machine's DNS",
        ) from None
    return list(dict.fromkeys(str(one[4][0]) for one in found))


def _connected(host: str, port: int, timeout_s: float) -> socket.socket:
    try:
        return socket.create_connection((host, port), timeout_s)
    except OSError as error:
        raise ConnectionStepError(
            "connect",
            f"{host}:{port} does not answer: {error.strerror or error}",
        ) from error


def _with_tls(tls: Tls, opened: socket.socket, host: str, address: str) -> ssl.SSLSocket:
    context = tls.context()
    try:
        return context.wrap_socket(opened, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        raise ConnectionStepError("tls", _refused_certificate(tls, error, host, address)) from None
    except OSError as error:
        raise ConnectionStepError(
            "tls",
            f"{address} does not speak TLS with us ({_words(error)}); check that the port is that of the "
            f"listener with TLS",
        ) from None


def _refused_certificate(tls: Tls, error: ssl.SSLCertVerificationError, host: str, address: str) -> str:
    if error.verify_code == _EXPIRED:
        return f"The certificate of {address} has expired; ask for a new one, and check this machine's clock"
    if error.verify_code == _NOT_YET_VALID:
        return f"The certificate of {address} is not valid yet; check this machine's clock"
    if error.verify_code in _OTHER_HOST:
        return (
            f"The certificate of {address} does not name the host {host}; connect by a name that is in it "
            f"(PHONEMETER_KAFKA), or ask for a certificate that names {host}"
        )
    if error.verify_code in _UNKNOWN_CA:
        by = tls.ca_file or "the system's CAs"
        return (
            f"The certificate of {address} is not signed by a CA that we trust ({by}: "
            f"{error.verify_message}); set PHONEMETER_KAFKA_CA_FILE to the PEM file of the CA that signed it"
        )
    return f"The certificate of {address} is refused ({error.verify_message}); ask for another"


def _certificate_in_words(connection: ssl.SSLSocket) -> str:
    certificate = connection.getpeercert()
    return f"certificate until {certificate['notAfter']}" if certificate else "certificate not checked"


class _Exchange:
    """Requests and answers of Kafka's protocol on one connection."""

    def __init__(self, connection: socket.socket, address: str) -> None:
        self._connection = connection
        self.address = address

    def ask(self, step: ConnectionStep, api: tuple[int, int], body: bytes) -> bytes:
        """Send a request, and return the body of its answer.

        Raises:
            ConnectionStepError: there is none.
        """
        client = b"phonemeter-steps"
        head = struct.pack(">hhih", *api, 0, len(client)) + client
        try:
            self._connection.sendall(struct.pack(">i", len(head) + len(body)) + head + body)
            (size,) = struct.unpack(">i", self._received(4))
            if not 4 <= size <= ANSWER_BYTES_MAX:  # noqa: PLR2004 - an answer has a number
                raise OSError(f"an answer of {size} bytes")  # noqa: TRY301 - told like the connection's own
            return self._received(size)[4:]
        except OSError as error:
            raise ConnectionStepError(step, self._no_answer(error)) from None

    def _no_answer(self, error: OSError) -> str:
        if "certificate" in str(error).lower():
            return (
                f"{self.address} refuses our certificate or wants one ({_words(error)}); set "
                f"PHONEMETER_KAFKA_CERTIFICATE_FILE and PHONEMETER_KAFKA_KEY_FILE to those of a client that "
                f"it knows"
            )
        return (
            f"{self.address} does not answer as Kafka with this security ({_words(error)}); check the port "
            f"and PHONEMETER_KAFKA_SECURITY: its listener may be one with TLS or with a login"
        )

    def _received(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            part = self._connection.recv(size - len(parts))
            if not part:
                raise ConnectionResetError("it closed the connection")
            parts += part
        return bytes(parts)


def _log_in(access: KafkaAccess, login: Login, exchange: _Exchange) -> None:
    name = login.mechanism.encode()
    answer = exchange.ask("login", _SASL_HANDSHAKE, struct.pack(">h", len(name)) + name)
    (code,) = struct.unpack_from(">h", answer)
    if code == _UNSUPPORTED_MECHANISM:
        raise ConnectionStepError(
            "login",
            f"{exchange.address} offers no login by {login.mechanism} but by "
            f"{', '.join(_mechanisms(answer)) or 'none'}; set PHONEMETER_KAFKA_SASL_MECHANISM to one of them",
        )
    if code:
        raise ConnectionStepError("login", f"{exchange.address} offers no login at this port (error {code})")
    # It takes long to import, and a worker needs this client library for nothing else.
    from kafka.net.sasl import get_sasl_mechanism  # noqa: PLC0415 - see above

    from kafka_access.kafka_python import kafka_python_options  # noqa: PLC0415 - see above

    options = kafka_python_options(access)
    # kafka-python would warn of a login without TLS, which whoever set it knows.
    del options["security_protocol"]
    mechanism = get_sasl_mechanism(login.mechanism)(**options)
    while not mechanism.is_done():
        proof = mechanism.auth_bytes()
        answer = exchange.ask("login", _SASL_AUTHENTICATE, struct.pack(">i", len(proof)) + proof)
        code, length = struct.unpack_from(">hh", answer)
        if code:
            told = answer[4 : 4 + max(0, length)].decode(errors="replace")
            forget_token(access)
            raise ConnectionStepError("login", _refused(login, exchange.address, told))
        at = 4 + max(0, length)
        (size,) = struct.unpack_from(">i", answer, at)
        try:
            mechanism.receive(answer[at + 4 : at + 4 + size])
        except (ValueError, KeyError) as error:
            raise ConnectionStepError("login", _refused(login, exchange.address, str(error))) from None


def _refused(login: Login, address: str, told: str) -> str:
    secret = "client's token" if login.endpoint else "user or the password"
    return (
        f"{address} refuses {login.who} ({' '.join(told.split())[:200].rstrip('.') or login.mechanism}): the "
        f"{secret} is wrong, or not known there for {login.mechanism}"
    )


def _mechanisms(answer: bytes) -> list[str]:
    (count,), at, found = struct.unpack_from(">i", answer, 2), 6, []
    for _ in range(count):
        (length,) = struct.unpack_from(">h", answer, at)
        found.append(answer[at + 2 : at + 2 + length].decode(errors="replace"))
        at += 2 + length
    return found


def _words(error: OSError) -> str:
    text = str(error.strerror or error)
    return text.rsplit("] ", maxsplit=1)[-1].split(" (_ssl", maxsplit=1)[0]
