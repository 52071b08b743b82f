"""The address of a ClickHouse: a URL, with parameters for what no URL has a place for.

The driver knows most of the parameters (`ca_certs`, `alt_hosts`, a query's settings, ...); those of `OWN` are
known here only.
"""

import ssl
from pathlib import Path
from typing import Any, Final, NamedTuple, Self
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from clickhouse_driver.util.helpers import parse_url

from secret_files.secret_file import SecretError, read_secret
from sinks.cluster import DEFAULT_REPLICA_PATH, Cluster

PORT: Final = 9000
TLS_PORT: Final = 9440

PASSWORD_FILE: Final = "password_file"  # noqa: S105 - a parameter's name, not a password
CLUSTER: Final = "cluster"
REPLICA_PATH: Final = "replica_path"
OWN: Final = (PASSWORD_FILE, CLUSTER, REPLICA_PATH)


class AddressError(OSError):
    """A file that the address names cannot be used. A failure like the server's: the file may come later."""


class ClickHouseAddress(NamedTuple):
    """A ClickHouse: the host, and the driver's options for it.

    Attributes:
        password_file: the file that has the password; it is read at each connection.
        cluster: the cluster that has the database; None where one server has it.
    """

    host: str
    options: dict[str, Any]
    password_file: str
    cluster: Cluster | None

    @classmethod
    def of(cls, url: str) -> Self:
        """Read a URL, but none of the files that it names."""
        parts = urlsplit(url)
        parameters = parse_qsl(parts.query, keep_blank_values=True)
        own = dict(parameters)
        rest = urlencode([(name, value) for name, value in parameters if name not in OWN])
        host, options = parse_url(urlunsplit(parts._replace(query=rest)))
        name = own.get(CLUSTER, "")
        cluster = Cluster(name, own.get(REPLICA_PATH) or DEFAULT_REPLICA_PATH) if name else None
        if cluster is not None:
            options["settings"] = {**cluster.settings, **options.get("settings", {})}
        return cls(str(host), options, own.get(PASSWORD_FILE, ""), cluster)

    @property
    def place(self) -> str:
        """Host and port, for messages."""
        return f"{self.host}:{self.options.get('port') or (TLS_PORT if self.is_secure else PORT)}"

    @property
    def is_secure(self) -> bool:
        """True if connections use TLS."""
        return bool(self.options.get("secure"))

    @property
    def database(self) -> str:
        """Name of the database."""
        return str(self.options["database"])

    def client_options(self) -> dict[str, Any]:
        """Return the options of a client; reads the password's file and looks at those of TLS.

        Raises:
            AddressError: one of the files cannot be used.
        """
        if self.is_secure:
            self._try_certificates()
        if not self.password_file:
            return dict(self.options)
        if self.options.get("password"):
            raise AddressError(
                "the ClickHouse URL has both a password and a password_file: leave one of them out"
            )
        return {**self.options, "password": _password_in(self.password_file)}

    def _try_certificates(self) -> None:
        """Load the certificates as the driver will, to which a missing file is a missing server."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        authority, certificate = self.options.get("ca_certs"), self.options.get("certfile")
        named = authority
        try:
            if authority:
                context.load_verify_locations(authority)
            if certificate:
                named = f"{certificate} or its keyfile"
                context.load_cert_chain(
                    certificate, self.options.get("keyfile"), self.options.get("keypass") or ""
                )
        except OSError as error:
            reason = error.strerror
            if isinstance(error, ssl.SSLError) or not reason:
                reason = "it holds no certificate, or no key that belongs to it"
            raise AddressError(f"the file {named} of the ClickHouse URL cannot be used: {reason}") from error


def _password_in(file: str) -> str:
    try:
        return read_secret(Path(file))
    except SecretError as error:
        raise AddressError(f"password_file of the ClickHouse URL: {error}") from None


def on_cluster(url: str, name: str, replica_path: str) -> str:
    """A URL with the cluster in it, unless it is empty or names one itself."""
    parts = urlsplit(url)
    parameters = dict(parse_qsl(parts.query, keep_blank_values=True))
    if not url or not name or CLUSTER in parameters:
        return url
    given = {**parameters, CLUSTER: name, REPLICA_PATH: replica_path}
    return urlunsplit(parts._replace(query=urlencode(given, safe="/:,{}")))
