"""The answers of decisions and holds, and their description in OpenAPI, made from the same types."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from metering.events import APPID_PATTERN, Capability
from metering.routing import RouteName, RoutingReason
from sinks.balances.holds import HOLD_S_MAX, HoldRequest

REFERENCE: Final = "#/components/schemas/{name}"
APP: Final = "wxfb1f3d218d111092"
HOLD: Final = "7d1f0c2b9a3e4f5061728394"


class RouteDocument(Struct, frozen=True):
    """The answer which way a member signs up.

    Attributes:
        route: `wechat` shows the paid button, `sms` sends a code, `manual` has the number typed in or kept.
        reason: in one word; `sentence` says the same in English, or in Chinese by `Accept-Language`.
        left: calls left, those that are held included; null if nothing is known.
        held: calls that others hold.
        run_out_at: when the balance runs out by forecast; null if that is not in sight.
        holds_for_ms: for how long the answer may be kept; 0 if it is for this member alone.
        as_of: the moment as of which the balance is known; null if it is not.
        degraded: what is known is out of date, or nothing is known.
    """

    appid: str
    capability: Capability
    route: RouteName
    reason: RoutingReason
    sentence: str
    left: int | None
    held: int
    run_out_at: str | None
    holds_for_ms: int
    as_of: str | None
    degraded: bool


class HoldDocument(Struct, frozen=True):
    """A hold that was granted: its id goes into `data.hold` of the event that confirms it."""

    id: str
    appid: str
    capability: Capability
    store: str
    expires_at: str


_DECISION: Final = {
    "appid": APP,
    "capability": "quick",
    "route": "wechat",
    "reason": "enough",
    "sentence": "There are enough calls.",
    "left": 4_211,
    "held": 2,
    "run_out_at": "2026-11-03T04:00:00.000Z",
    "holds_for_ms": 10_000,
    "as_of": "2026-10-17T10:05:02.870Z",
    "degraded": False,
}
_AWAY: Final = _DECISION | {
    "route": "sms",
    "reason": "used_up",
    "sentence": "No call is left: trial quota and active packs are used up.",
    "left": 0,
    "held": 0,
    "run_out_at": None,
}
_HELD: Final = {
    "id": HOLD,
    "appid": APP,
    "capability": "quick",
    "store": "store-03",
    "expires_at": "2026-10-17T10:06:03.120Z",
}
_REPEAT: Final = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}


def _parameter(where: str, name: str, meaning: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": where, "required": where == "path", "description": meaning, "schema": schema}


def _content(name: str, **examples: object) -> dict[str, Any]:
    named = {title: {"value": value} for title, value in examples.items()}
    return {"application/json": {"schema": {"$ref": REFERENCE.format(name=name)}, "examples": named}}


_APP: Final = _parameter(
    "path", "appid", "The mini-program.", {"type": "string", "pattern": APPID_PATTERN.replace(r"\Z", "$")}
)

ROUTE: Final[dict[str, Any]] = {
    "operationId": "decideRoute",
    "summary": "Decide which way a member signs up",
    "description": "Asked before the paid button is shown, so that nobody meets errno 1400001. It is "
    "answered from memory, also while what is known is out of date, which the answer says.",
    "parameters": [
        _APP,
        _parameter(
            "query",
            "capability",
            "The component; quick by default.",
            {"type": "string", "enum": ["quick", "realtime"]},
        ),
        _parameter(
            "query", "store", "The store, where it may have a budget.", {"type": "string", "maxLength": 64}
        ),
        _parameter("query", "known", "Whether the member's number is on file.", {"type": "boolean"}),
        _parameter(
            "header",
            "Accept-Language",
            "The sentence is in Chinese if this begins with zh.",
            {"type": "string"},
        ),
    ],
    "responses": {
        "200": {
            "description": "The decision.",
            "headers": {
                "Cache-Control": {
                    "description": "For how long the answer may be kept, in whole seconds.",
                    "schema": {"type": "string"},
                }
            },
            "content": _content("RouteDocument", wechat=_DECISION, sms=_AWAY),
        },
    },
}

GRANT: Final[dict[str, Any]] = {
    "operationId": "holdCall",
    "summary": "Hold a call",
    "description": "Holds one call for a member, so that it is there when the button is tapped. All gateways "
    f"on one business database decide as one. It ends by itself after at most {HOLD_S_MAX} seconds; a "
    "succeeded authorization with its id in `data.hold` confirms it, a denied or failed one releases it.",
    "parameters": [
        _APP,
        _parameter(
            "header", "Idempotency-Key", "The same key gets the same hold while that is open.", _REPEAT
        ),
    ],
    "requestBody": {
        "required": False,
        "content": _content(
            "HoldRequest", minute={"capability": "quick", "store": "store-03", "seconds": 60}
        ),
    },
    "responses": {
        "201": {"description": "The call is held.", "content": _content("HoldDocument", held=_HELD)},
        "409": {"description": "No call is left above the reserve, or members are not sent to WeChat now."},
        "413": {"description": "The request is too large."},
    },
}

RELEASE: Final[dict[str, Any]] = {
    "operationId": "releaseHold",
    "summary": "Release a hold",
    "description": "Gives a call back that is not needed. One that an event has confirmed stays.",
    "parameters": [
        _APP,
        _parameter("path", "hold", "The hold's id.", {"type": "string", "pattern": "^[0-9a-f]{24}$"}),
    ],
    "responses": {
        "204": {"description": "The call is not held any more."},
        "409": {"description": "An event has confirmed the hold."},
    },
}

_, _COMPONENTS = msgspec.json.schema_components(
    (RouteDocument, HoldRequest, HoldDocument), ref_template=REFERENCE
)
SCHEMAS: Final[Mapping[str, Any]] = _COMPONENTS
