"""The part of the HTTP interface that decides: which way a member signs up, and who may hold a call."""

import asyncio
import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from metering.events import Capability
from metering.http_endpoints import Endpoint, HeldEvent, Scope
from metering.personal_identifiers import find_identifier
from metering.routing_sentences import sentence_of_routing
from metering.times import MINUTE_MS, format_time
from sinks.balances.decider import RouteAnswer, RouteDecider, RouteQuestion
from sinks.balances.descriptions import GRANT, RELEASE, ROUTE, SCHEMAS, HoldDocument, RouteDocument
from sinks.balances.hold_desk import HoldDesk
from sinks.balances.holds import HOLDS_MAX, Hold, HoldRequest, HoldsUnavailableError
from sinks.balances.keeper import BalanceKeeper
from sinks.balances.memory import MS_PER_S, wall_clock_ms
from sinks.balances.metrics import BalanceMetrics

STORE_CHARACTERS_MAX: Final = 64
BODY_BYTES_MAX: Final = 4_096
BODY_S: Final = 10.0
QUERY_BYTES_MAX: Final = 1_024
AGAIN: Final = {"retry-after": "2"}
JSON: Final = "application/json"
BOTH: Final[frozenset[Scope]] = frozenset({"emit", "read"})
EMIT: Final[frozenset[Scope]] = frozenset({"emit"})

_REPEAT: Final = re.compile(r"[!-~]{1,255}")
_HOLD: Final = re.compile(r"[0-9a-f]{24}")
_encoder: Final = msgspec.json.Encoder()
_request: Final = msgspec.json.Decoder(HoldRequest)


class RoutingPart:
    """The endpoints of decisions and holds, and the work behind them."""

    def __init__(
        self, keeper: BalanceKeeper, desk: HoldDesk, decider: RouteDecider, metrics: BalanceMetrics
    ) -> None:
        self._keeper = keeper
        self._desk = desk
        self._decider = decider
        self._metrics = metrics
        metrics.watch(self._as_of_ms, lambda: len(keeper.memory or ()))

    @property
    def endpoints(self) -> Sequence[Endpoint]:
        """The endpoints."""
        holds = "/v1/apps/{appid}/holds"
        return (
            Endpoint("GET", "/v1/apps/{appid}/route", BOTH, self.route, ROUTE, is_direct=True),
            Endpoint("POST", holds, EMIT, self.grant, GRANT),
            Endpoint("DELETE", f"{holds}/{{hold}}", EMIT, self.release, RELEASE),
        )

    @property
    def schemas(self) -> Mapping[str, Any]:
        """Schemas of the answers."""
        return SCHEMAS

    def troubles(self) -> Sequence[str]:
        """The troubles of now, each in a sentence."""
        troubles = [*self._keeper.troubles(), *filter(None, (self._desk.trouble,))]
        as_of_ms = self._as_of_ms()
        if self._keeper.memory is not None and wall_clock_ms() - as_of_ms > MINUTE_MS:
            since = f"since {format_time(as_of_ms)}" if as_of_ms >= 0 else "yet"
            troubles.append(f"Not all balances in memory are known to be complete {since}.")
        return troubles

    async def run(self) -> None:
        """Keep the balances and the holds, until cancelled."""
        with self._keeper.running():
            await self._desk.run()

    async def end_holds(self, events: Sequence[HeldEvent]) -> None:
        """Let events that are about to be sent confirm or release holds."""
        await self._desk.end_holds(events)

    def route(self, request: Request) -> Response:
        """Answer which way a member signs up."""
        asked = _question(request)
        answer = self._decider.answer(asked)
        decision = answer.decision
        self._metrics.decided(decision.route, decision.reason)
        language = request.headers.get("accept-language", "")
        document = _document(asked, answer, "zh" if language.lower().startswith("zh") else "en")
        headers = {"cache-control": f"private, max-age={decision.holds_for_ms // MS_PER_S}"}
        return Response(_encoder.encode(document), 200, headers, JSON)

    async def grant(self, request: Request) -> Response:
        """Grant a hold."""
        appid, repeat = request.path_params["appid"], _repeat(request)
        asked = await _body(request)
        if find_identifier(asked.store) is not None:
            raise HTTPException(400, "store: it is a name of yours, not a phone number or an openid.")
        answer, limits = self._decider.limits(RouteQuestion(appid, asked.capability, asked.store))
        if answer.decision.reason == "not_known" and not self.troubles():
            raise HTTPException(404, f"There is no app {appid!r} yet: nothing was recorded of it.")
        if answer.decision.is_degraded:
            self._metrics.holds.labels("unavailable").inc()
            raise HTTPException(503, "What is known of the balance is out of date; no call is held.", AGAIN)
        if answer.decision.route != "wechat":
            self._metrics.holds.labels("refused").inc()
            raise HTTPException(409, sentence_of_routing(answer.decision))
        try:
            granted = await self._desk.grant(appid, asked, limits, repeat)
        except HoldsUnavailableError as error:
            self._metrics.holds.labels("unavailable").inc()
            raise HTTPException(503, str(error), AGAIN) from None
        if isinstance(granted, Hold):
            self._metrics.holds.labels("granted").inc()
            return Response(_encoder.encode(_granted(granted)), 201, None, JSON)
        self._metrics.holds.labels("refused").inc()
        raise HTTPException(409, _REFUSED[granted])

    async def release(self, request: Request) -> Response:
        """Release a hold that no event has confirmed."""
        appid, hold_id = request.path_params["appid"], request.path_params["hold"]
        unknown = HTTPException(404, "There is no such hold any more; it may have expired.")
        if not _HOLD.fullmatch(hold_id):
            raise unknown
        try:
            end = await self._desk.release(appid, hold_id)
        except HoldsUnavailableError as error:
            raise HTTPException(503, str(error), AGAIN) from None
        if end == "released":
            return Response(None, 204)
        if end == "confirmed":
            raise HTTPException(409, "An event has confirmed the hold; it ends with that call.")
        raise unknown

    def _as_of_ms(self) -> int:
        memory = self._keeper.memory
        return -1 if memory is None else memory.oldest_as_of_ms()


_REFUSED: Final = {
    "nothing_left": "All calls above the owner's reserve are held by others.",
    "too_many_holds": f"There are {HOLDS_MAX:,} open holds of this app; release some.",
    "repeat_differs": "The Idempotency-Key belongs to another hold.",
}


_CAPABILITIES: Final[Mapping[str, Capability]] = {"": "quick", "quick": "quick", "realtime": "realtime"}


def _question(request: Request) -> RouteQuestion:
    query = request.scope["query_string"]
    if len(query) > QUERY_BYTES_MAX:
        raise HTTPException(400, f"The query has at most {QUERY_BYTES_MAX} bytes.")
    return RouteQuestion(request.path_params["appid"], *_asked(query))


@lru_cache(maxsize=4_096)
def _asked(query: bytes) -> tuple[Capability, str, bool]:
    """The capability, the store and whether the member is known; most questions are asked often."""
    given = dict(parse_qsl(query.decode("latin-1")))
    capability, store, known = given.get("capability", ""), given.get("store", ""), given.get("known", "")
    of = _CAPABILITIES.get(capability)
    if of is None:
        raise HTTPException(400, "capability: quick or realtime.")
    if len(store) > STORE_CHARACTERS_MAX:
        raise HTTPException(400, f"store: at most {STORE_CHARACTERS_MAX} characters.")
    if known not in {"", "true", "false"}:
        raise HTTPException(400, "known: true or false.")
    return of, store, known == "true"


def _repeat(request: Request) -> str | None:
    """The digest of the key and the `Idempotency-Key` of a request."""
    name = request.headers.get("idempotency-key")
    if name is None:
        return None
    if not _REPEAT.fullmatch(name):
        raise HTTPException(400, "An Idempotency-Key has 1 to 255 printable characters of ASCII.")
    key = getattr(request.state, "key", "")
    return hashlib.sha256(f"{key}:{request.path_params['appid']}:{name}".encode()).hexdigest()


async def _body(request: Request) -> HoldRequest:
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for piece in request.stream():
                body += piece
                if len(body) > BODY_BYTES_MAX:
                    raise HTTPException(413, f"A request for a hold has at most {BODY_BYTES_MAX:,} bytes.")
    except TimeoutError:
        raise HTTPException(400, "The body did not arrive in time.", {"connection": "close"}) from None
    try:
        return _request.decode(body or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise HTTPException(400, f"The body is no request for a hold: {error}.") from None


def _document(asked: RouteQuestion, answer: RouteAnswer, language: Any) -> RouteDocument:  # noqa: ANN401
    decision = answer.decision
    return RouteDocument(
        asked.appid,
        asked.capability,
        decision.route,
        decision.reason,
        sentence_of_routing(decision, language),
        decision.left,
        answer.held,
        _time(decision.run_out_ms),
        decision.holds_for_ms,
        _time(answer.as_of_ms),
        decision.is_degraded,
    )


@lru_cache(maxsize=65_536)
def _time(time_ms: int | None) -> str | None:
    """A moment in text; None for none. Most answers of a second have the same ones."""
    return None if time_ms is None or time_ms < 0 else format_time(time_ms)


def _granted(hold: Hold) -> HoldDocument:
    return HoldDocument(
        hold.hold_id, hold.appid, hold.capability, hold.store, format_time(hold.expires_at_ms)
    )
