"""Access to a Kafka cluster: its brokers, the security of the connection and the prefix of names."""

import ssl
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

from metering.preconditions import TopicDemands
from secret_files.secret_file import SecretError, read_secret

Security = Literal["plaintext", "tls", "sasl_plaintext", "sasl_tls"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]

CONTEXTS_MAX: Final = 16


class KafkaAccessError(Exception):
    """Access to Kafka cannot be had as it is set; the message is one sentence.

    Attributes:
        unreachable: nobody answered, rather than refused us.
    """

    unreachable = False


@dataclass(frozen=True, slots=True)
class Tls:
    """The TLS of a connection: whom to trust, and the client's own certificate if it has one."""

    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    key_password_file: Path | None = None
    check_host_name: bool = True

    def key_password(self) -> str | None:
        """The password of the client's key.

        Raises:
            KafkaAccessError: the file cannot be read.
        """
        return _secret(self.key_password_file) if self.key_password_file else None

    def context(self) -> ssl.SSLContext:
        """A context of Python's `ssl` from the files as they are now; the same while they are unchanged.

        Raises:
            KafkaAccessError: a file cannot be read or holds no certificate or key.
        """
        files = (self.ca_file, self.certificate_file, self.key_file, self.key_password_file)
        return _context(self, tuple(map(_stamp, files)))

    def loaded(self) -> ssl.SSLContext:
        """The same, loaded anew."""
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:
            raise KafkaAccessError(
                f"{self.ca_file} holds no certificates of a CA ({file_trouble(error)}); set "
                f"PHONEMETER_KAFKA_CA_FILE to the PEM file of the CA that signed the brokers' certificates"
            ) from None
        context.check_hostname = self.check_host_name
        if self.certificate_file is not None:
            try:
                # Without a password Python would ask for one on the terminal.
                context.load_cert_chain(
                    self.certificate_file, self.key_file, password=lambda: self.key_password() or ""
                )
            except OSError as error:
                raise KafkaAccessError(
                    f"The client certificate {self.certificate_file} with the key "
                    f"{self.key_file or self.certificate_file} cannot be used ({file_trouble(error)}); both "
                    f"are PEM files that belong together, the key without a password or with that of "
                    f"PHONEMETER_KAFKA_KEY_PASSWORD_FILE"
                ) from None
        return context


@dataclass(frozen=True, slots=True)
class TokenEndpoint:
    """The OAuth 2 token endpoint that a client's credentials are exchanged at."""

    url: str
    client: str
    secret_file: Path
    scope: str = ""
    ca_file: Path | None = None

    def secret(self) -> str:
        """The client's secret.

        Raises:
            KafkaAccessError: the file cannot be read.
        """
        return _secret(self.secret_file)


@dataclass(frozen=True, slots=True)
class Login:
    """The SASL login: a user with a password, or a token endpoint."""

    mechanism: Mechanism
    user: str = ""
    given_password: str = field(default="", repr=False)
    password_file: Path | None = None
    endpoint: TokenEndpoint | None = None

    def password(self) -> str:
        """The password, which is read from its file each time: it may be changed while a service runs.

        Raises:
            KafkaAccessError: the file cannot be read.
        """
        return _secret(self.password_file) if self.password_file else self.given_password

    @property
    def who(self) -> str:
        """The account in words."""
        return f"client {self.endpoint.client}" if self.endpoint else f"user {self.user}"


@dataclass(frozen=True, slots=True)
class KafkaAccess:
    """The brokers with the security of the connection, and the prefix of topics and groups on them.

    Attributes:
        brokers: HOST:PORT, several of them separated by commas.
        prefix: precedes the name of each topic and consumer group.
        tls: None for connections without TLS.
        login: None for connections without SASL.
        replicas: the least number of replicas of a topic; 0 for the brokers' default.
        insync: the least `min.insync.replicas` of a topic; 0 for what goes with the replicas.
    """

    brokers: str
    prefix: str = ""
    tls: Tls | None = None
    login: Login | None = None
    replicas: int = 0
    insync: int = 0

    def __str__(self) -> str:
        return self.brokers

    @property
    def addresses(self) -> list[str]:
        """The brokers, each by itself."""
        return self.brokers.split(",")

    @property
    def protocol(self) -> str:
        """Kafka's name of the security of the connection."""
        return f"{'SASL_' if self.login else ''}{'SSL' if self.tls else 'PLAINTEXT'}"

    @property
    def demands(self) -> TopicDemands:
        """The demands on its topics."""
        return TopicDemands(self.prefix, self.replicas, self.insync)

    def topic(self, name: str) -> str:
        """The name of a topic of `metering.topics` on these brokers."""
        return f"{self.prefix}{name}"

    def group(self, name: str) -> str:
        """The name of a consumer group on these brokers."""
        return f"{self.prefix}{name}"

    def known(self, name: str) -> str:
        """The name in `metering.topics` of a topic on these brokers."""
        return name.removeprefix(self.prefix)


@lru_cache(maxsize=CONTEXTS_MAX)
def _context(tls: Tls, _stamps: tuple[object, ...]) -> ssl.SSLContext:
    return tls.loaded()


def _stamp(file: Path | None) -> tuple[int, int, int] | None:
    """The facts that change when a file is written or replaced; None if there is no file."""
    try:
        found = file.stat() if file is not None else None
    except OSError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns) if found is not None else None


def _secret(file: Path) -> str:
    try:
        return read_secret(file)
    except SecretError as error:
        raise KafkaAccessError(str(error)) from None


def file_trouble(error: OSError) -> str:
    """The reason why a file of certificates or keys cannot be used, in words."""
    return (error.strerror or str(error)).split("] ")[-1].split(" (_ssl")[0]
