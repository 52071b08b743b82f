"""Delivery to the gateway over HTTP, a batch at a time: for back ends that can't or may not reach Kafka."""

import gzip
import ssl
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final, Literal

import msgspec
import urllib3
from urllib3.exceptions import HTTPError

from producers.client_settings import ClientSettings
from producers.errors import DeliveryError, GatewayRefusedError, ProducerError, UnavailableError
from producers.event_queue import QueuedEvent
from producers.transport import Retry, Settle

BATCH_EVENTS: Final = 500
BATCH_BYTES: Final = 1_000_000
"""Limits of a request, below those of the gateway."""

CONNECT_WITHIN_S: Final = 3.0
ANSWER_WITHIN_S: Final = 15.0
"""Longer than the gateway waits for Kafka."""

ANSWER_BYTES_MAX: Final = 4_194_304
RETRY_AFTER_S_MAX: Final = 60.0

WRONG_KEY: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
WRONG_REQUEST: Final = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    }
)


class _Result(msgspec.Struct, frozen=True):
    index: int
    outcome: Literal["accepted", "duplicate", "refused", "unconfirmed"]
    detail: str = ""


class _GatewayAnswer(msgspec.Struct, frozen=True):
    """The parts of the gateway's answers that matter here."""

    detail: str = ""
    results: list[_Result] = []


class GatewayTransport:
    """The connection to a gateway. What it does not confirm is sent again: an event is one by its id."""

    events_max = BATCH_EVENTS
    bytes_max = BATCH_BYTES
    grace_s = CONNECT_WITHIN_S + ANSWER_WITHIN_S

    def __init__(self, settings: ClientSettings) -> None:
        if not settings.client_gateway_key:
            raise ProducerError(
                "The gateway wants an API key: set PHONEMETER_CLIENT_GATEWAY_KEY to one of "
                "`phonemeter keys issue`."
            )
        self._url = f"{settings.client_gateway_url.rstrip('/')}/v1/events"
        self._key = settings.client_gateway_key
        self._http = self._new_pool()
        self.address = f"The gateway at {settings.client_gateway_url}"

    def connect(self) -> None:
        """Ask whether the gateway is there and takes the key, by a request without events.

        Raises:
            UnavailableError: it is not, or does not.
        """
        self.send((), lambda *_: None, lambda _: None)

    def send(self, events: Sequence[QueuedEvent], settle: Settle, retry: Retry) -> None:
        """Send events and settle those that the answer settles.

        Raises:
            UnavailableError: the others have to be sent again.
        """
        del retry
        status, retry_after_s, answer = self._posted(b"[" + b",".join(event.value for event in events) + b"]")
        if answer.results:
            for result in answer.results:
                self._settle(events[result.index], result, settle)
        elif status == HTTPStatus.OK:
            for event in events:
                settle(event, ())
        elif status in WRONG_REQUEST:
            for event in events:
                settle(event, DeliveryError(f"{self.address} can't read the request: {answer.detail}"))
        if status in WRONG_KEY:
            raise UnavailableError(
                f"{self.address} does not take the key of PHONEMETER_CLIENT_GATEWAY_KEY: {answer.detail}"
            )
        if status != HTTPStatus.OK and status not in WRONG_REQUEST:
            raise UnavailableError(
                f"{self.address} answered with status {status}: {answer.detail or 'no reason'}",
                retry_after_s,
            )

    def drop(self) -> None:
        """Give connections up that are open."""
        self._http.clear()

    def abandon(self) -> None:
        """Leave connections alone: closing them in a child process is no message to the gateway."""

    def close(self) -> None:
        """Disconnect."""
        self._http.clear()

    def _settle(self, event: QueuedEvent, result: _Result, settle: Settle) -> None:
        if result.outcome == "refused":
            settle(event, GatewayRefusedError(f"{self.address} refused the event: {result.detail}"))
        elif result.outcome != "unconfirmed":
            settle(event, ())

    def _posted(self, body: bytes) -> tuple[int, float, _GatewayAnswer]:
        """Status, seconds to wait and content of the answer."""
        try:
            response = self._http.request(
                "POST",
                self._url,
                body=gzip.compress(body, 1),
                headers={
                    "authorization": f"Bearer {self._key}",
                    "content-type": "application/cloudevents-batch+json",
                    "content-encoding": "gzip",
                    "user-agent": "phonemeter-client",
                },
                preload_content=False,
            )
            content = response.read(ANSWER_BYTES_MAX)
            response.release_conn()
        except (HTTPError, OSError, ssl.SSLError) as error:
            # The message of some of them has the whole request in it.
            raise UnavailableError(f"{self.address} does not answer ({type(error).__name__}).") from None
        return response.status, _seconds(response.headers.get("retry-after", "")), _decoded(content)

    @staticmethod
    def _new_pool() -> urllib3.PoolManager:
        timeout = urllib3.Timeout(connect=CONNECT_WITHIN_S, read=ANSWER_WITHIN_S)
        return urllib3.PoolManager(num_pools=1, maxsize=1, retries=False, timeout=timeout)


def _seconds(text: str) -> float:
    return min(RETRY_AFTER_S_MAX, float(text)) if text.isdecimal() else 0.0


def _decoded(content: bytes) -> _GatewayAnswer:
    try:
        return msgspec.json.decode(content, type=_GatewayAnswer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _GatewayAnswer("The answer is none of a gateway; check the URL.")
