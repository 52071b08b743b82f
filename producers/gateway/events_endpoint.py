"""`POST /v1/events`: a request becomes events, and its answer says what became of each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from http_service.http_connection import CLOSE
from metering.http_endpoints import HoldEnder, Scope
from producers.clock import wall_clock_ms
from producers.errors import DeliveryError, UnavailableError
from producers.event_batch import CheckedEvent, EventBatch
from producers.gateway.api_keys import ApiKey
from producers.gateway.content_modes import events_of
from producers.gateway.doubled_headers import refuse_doubled_headers
from producers.gateway.examination import OUTCOMES, Examined, examine
from producers.gateway.key_ring import KeyRing
from producers.gateway.metrics import Metrics
from producers.gateway.problems import RequestProblem
from producers.gateway.rate_limits import RateLimits
from producers.gateway.repeats import KeptAnswer, Repeats, checked_name, fingerprint_of
from producers.gateway.request_body import read_body

AGAIN_S: Final = 2
"""Seconds after which to try again what could not be taken."""

JSON: Final = "application/json"
SCOPES: Final[frozenset[Scope]] = frozenset({"emit"})
REPEATED: Final = {"idempotent-replayed": "true"}

UNCONFIRMED: Final = (
    "Kafka has not confirmed the event in time; it may be stored all the same. Send the same event again: "
    "its id keeps it one."
)

_encoder = msgspec.json.Encoder()


class BatchPublisher(Protocol):
    """A sender of events to Kafka."""

    async def publish(self, events: Sequence[CheckedEvent]) -> EventBatch:
        """Send events, and wait for their outcomes; the batch may not be settled then.

        Raises:
            UnavailableError: nothing was sent.
        """


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """Limits of the settings."""

    receive_s: float
    requests_max: int


class EventsEndpoint:
    """The handler of requests with events."""

    def __init__(
        self,
        keys: KeyRing,
        publisher: BatchPublisher,
        rates: RateLimits,
        limits: RequestLimits,
        metrics: Metrics,
        now_ms: Callable[[], int] = wall_clock_ms,
        *,
        holds: HoldEnder | None = None,
    ) -> None:
        self._holds = holds
        self._keys = keys
        self._publisher = publisher
        self._rates = rates
        self._limits = limits
        self._metrics = metrics
        self._now_ms = now_ms
        self._repeats = Repeats()
        self._open = 0

    async def handle(self, request: Request) -> Response:
        """Answer one request.

        Raises:
            RequestProblem: the answer is a problem.
        """
        refuse_doubled_headers(request)
        # Nobody without a key may make us read, or hold one of the places.
        key = await self._keys.opened_now_by(request.headers.get("authorization", ""), SCOPES)
        request.state.key = key.prefix
        if self._open >= self._limits.requests_max:
            raise RequestProblem(
                "unavailable", "Too many requests are under way; nothing was taken.", {**CLOSE, **_again()}
            )
        self._open += 1
        self._metrics.requests_open.set(self._open)
        try:
            with self._metrics.request_seconds.time():
                return await self._answer(request, key)
        finally:
            self._open -= 1
            self._metrics.requests_open.set(self._open)

    async def _answer(self, request: Request, key: ApiKey) -> Response:
        try:
            body = await read_body(request, self._limits.receive_s)
        except ClientDisconnect:
            raise RequestProblem("malformed", "The connection ended before the body did.", CLOSE) from None
        headers = [(name.lower(), value) for name, value in request.headers.items()]
        name = request.headers.get("idempotency-key")
        if name is None:
            return _response(await self._take(request, key, headers, body))
        identity, fingerprint = (key.key_id, checked_name(name)), fingerprint_of(headers, body)
        kept = self._repeats.answer_to(identity, fingerprint)
        if kept is not None:
            return _response(kept, REPEATED)
        with self._repeats.first(identity, fingerprint) as keep:
            try:
                answer = await self._take(request, key, headers, body)
            except RequestProblem as problem:
                if problem.name == "events_refused":
                    refused = problem.response()
                    keep(KeptAnswer(refused.status_code, bytes(refused.body), str(refused.media_type)))
                raise
            keep(answer)
            return _response(answer)

    async def _take(
        self, request: Request, key: ApiKey, headers: Sequence[tuple[str, str]], body: bytes
    ) -> KeptAnswer:
        given = events_of(headers, body)
        self._rates.take(key, max(1, len(given)))
        examined = examine(given, key, self._now_ms())
        if examined.held and self._holds is not None:
            await self._holds.end_holds(examined.held)
        if examined.to_send:
            await self._send(examined)
        counts = examined.counts()
        request.state.events = len(given)
        for outcome in OUTCOMES:
            if counts[outcome]:
                self._metrics.events.labels(outcome).inc(counts[outcome])
        if counts["unconfirmed"]:
            raise RequestProblem("unconfirmed", UNCONFIRMED, _again(), examined.document())
        if counts["refused"]:
            raise RequestProblem(
                "events_refused",
                f"{counts['refused']:,} of {len(given):,} event(s) were refused, and the others are stored.",
                None,
                examined.document(),
            )
        return KeptAnswer(200, _encoder.encode(examined.document()), JSON)

    async def _send(self, examined: Examined) -> None:
        try:
            batch = await self._publisher.publish(examined.to_send)
        except UnavailableError as error:
            raise RequestProblem("unavailable", f"Nothing was taken. {error}", _again()) from None
        if not batch.settled:
            examined.leave_unconfirmed(UNCONFIRMED)
        elif batch.failure is not None:
            failed = [examined.places[place] for place in batch.failed_places()]
            examined.leave_unconfirmed(_sentence(batch.failure), failed)


def _sentence(failure: DeliveryError) -> str:
    return UNCONFIRMED if isinstance(failure, UnavailableError) else str(failure)


def _again() -> dict[str, str]:
    return {"retry-after": str(AGAIN_S)}


def _response(answer: KeptAnswer, headers: dict[str, str] | None = None) -> Response:
    return Response(answer.body, answer.status, headers, answer.media_type)
