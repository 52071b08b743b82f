"""The TLS of clients that live long, whose files may be renewed meanwhile."""

import logging
import ssl
from typing import Any, Self

from kafka_access.access import KafkaAccessError, Tls

log = logging.getLogger(__name__)


class RenewedContext(ssl.SSLContext):
    """A context whose connections use the files as they are at that time.

    While they cannot be loaded, as in the middle of a change, those before are used.
    """

    def __new__(cls, _tls: Tls) -> Self:
        """A context whose own certificates are never used."""
        return super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)

    def __init__(self, tls: Tls) -> None:
        self._tls = tls
        self._newest = tls.context()

    def wrap_socket(self, *given: Any, **named: Any) -> ssl.SSLSocket:  # noqa: ANN401 - those of ssl
        """The socket with TLS."""
        return self._renewed().wrap_socket(*given, **named)

    def wrap_bio(self, *given: Any, **named: Any) -> ssl.SSLObject:  # noqa: ANN401 - those of ssl
        """The buffers with TLS."""
        return self._renewed().wrap_bio(*given, **named)

    def _renewed(self) -> ssl.SSLContext:
        try:
            self._newest = self._tls.context()
        except KafkaAccessError as error:
            log.warning("%s; the files before are used", error)
        return self._newest
