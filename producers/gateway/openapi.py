"""The OpenAPI 3.1 document of the gateway, its schemas made from the types that decode the events."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Final

import msgspec

from http_service.problem_document import MEDIA_TYPE, TYPE_PREFIX
from metering.event_schema import data_name, definitions, event_kinds, tag_of
from metering.events import Denied, Failed, Succeeded
from metering.http_endpoints import HttpPart
from producers.gateway.content_modes import BATCHED, EVENTS_MAX, JSON, STRUCTURED
from producers.gateway.events_endpoint import UNCONFIRMED
from producers.gateway.examination import OURS, OUTCOMES, EventResult
from producers.gateway.problems import OF_STATUS, STATUSES, ProblemName
from producers.gateway.repeats import NAME_CHARACTERS_MAX
from producers.gateway.request_body import BODY_BYTES_MAX

REFERENCE: Final = "#/components/schemas/{name}"

OURS_TAGS: Final = frozenset(tag_of(one) for one in OURS)
TAPS: Final = (Succeeded, Denied, Failed)

APP: Final = "wxfb1f3d218d111092"
TAP: Final[dict[str, Any]] = {
    "specversion": "1.0",
    "type": "phone.authorization.succeeded",
    "source": "/backend/member-centre",
    "subject": APP,
    "time": "2026-10-17T10:05:03.120Z",
    "code": "0f3yZqll2xqKVh4Wb6nl2Y8aXe3yZqlY",
    "data": {"capability": "quick", "scene": "card_claim", "store": "store-03"},
}
PACK: Final[dict[str, Any]] = {
    "specversion": "1.0",
    "id": "pack-2026-10-01",
    "type": "pack.purchased",
    "source": "/backend/purchasing",
    "subject": APP,
    "time": "2026-10-01T02:00:00Z",
    "data": {
        "pack_id": "1187264521",
        "capability": "quick",
        "calls": 1_000,
        "validity_days": 365,
        "price_micro_yuan": 30_000_000,
        "paid_at": "2026-10-01T02:00:00Z",
    },
}
ACCEPTED: Final[dict[str, Any]] = {
    "accepted": 1,
    "duplicate": 0,
    "refused": 0,
    "unconfirmed": 0,
    "results": [{"index": 0, "outcome": "accepted", "id": "pack-2026-10-01"}],
}

ANSWERS: Final[dict[int, tuple[ProblemName, ...]]] = {
    status: tuple(name for name, (of, _) in STATUSES.items() if of == status and name != "conflict")
    for status in (400, 401, 403, 408, 409, 413, 415, 422, 429, 500, 503)
}
"""Problems that the endpoint of events may answer with."""
RETRIED: Final = frozenset({409, 429, 500, 503})

COMMON: Final[Mapping[int, tuple[ProblemName, ...]]] = {
    400: ("malformed",),
    401: ("key_missing", "key_invalid"),
    403: ("scope_missing",),
    404: ("not_found",),
    429: ("rate_limit",),
    500: ("failed",),
    503: ("unavailable",),
}
"""Problems that every endpoint of a part may answer with."""


def document(parts: Sequence[HttpPart] = ()) -> dict[str, Any]:
    """The document of the gateway's own endpoint and those of the parts."""
    paths: dict[str, Any] = {"/v1/events": {"post": _operation()}}
    schemas = _schemas()
    for part in parts:
        schemas.update(part.schemas)
        for endpoint in part.endpoints:
            # `:path` says to the framework that a parameter may have slashes.
            path = endpoint.path.replace(":path}", "}")
            paths.setdefault(path, {})[endpoint.method.lower()] = _with_problems(endpoint.operation)
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "phonemeter",
            "version": version("phonemeter"),
            "description": "Takes events of prepaid WeChat phone-authorization calls over HTTP, and answers "
            "what became of them. A key is "
            "issued with `phonemeter keys issue`.",
        },
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "bearerFormat": "pm_ID_SECRET"}},
            "schemas": schemas,
        },
    }


def _operation() -> dict[str, Any]:
    return {
        "operationId": "sendEvents",
        "summary": "Send events",
        "description": f"One event, or up to {EVENTS_MAX:,} in at most {BODY_BYTES_MAX:,} bytes (unpacked). "
        "The answer comes when Kafka has them: 200 means that every event is stored. An event that is sent "
        "again with the same id is one event. Events of one app stay in their order within a request. "
        "In CloudEvents' binary mode the attributes are headers `ce-...`, the body is the data. A body may "
        "be packed (`Content-Encoding: gzip`).",
        "parameters": _parameters(),
        "requestBody": {
            "required": True,
            "content": {
                STRUCTURED: _body({"$ref": REFERENCE.format(name="Event")}, tap=TAP, pack=PACK),
                BATCHED: _body({"$ref": REFERENCE.format(name="Batch")}, batch=[PACK, TAP]),
                JSON: _body(
                    {"anyOf": [{"$ref": REFERENCE.format(name=name)} for name in ("Event", "Batch")]},
                    tap=TAP,
                    batch=[PACK, TAP],
                ),
            },
        },
        "responses": {
            "200": {
                "description": "All events are stored.",
                "headers": _headers(200),
                "content": {JSON: _body({"$ref": REFERENCE.format(name="Results")}, accepted=ACCEPTED)},
            },
            **{str(status): _problem_response(status) for status in ANSWERS},
        },
    }


def _with_problems(operation: Mapping[str, Any]) -> dict[str, Any]:
    """An operation with what every endpoint may answer; a problem that it names itself keeps its text."""
    responses = {str(status): _problem_response(status, COMMON.get(status)) for status in COMMON}
    for status, given in operation["responses"].items():
        if "content" not in given and int(status) >= HTTPStatus.BAD_REQUEST:
            name, _ = OF_STATUS[int(status)]
            responses[status] = {**_problem_response(int(status), (name,)), **given}
        else:
            responses[status] = {
                **given,
                "headers": {**_headers(int(status)), **given.get("headers", {})},
            }
    return {**operation, "responses": responses}


def _parameters() -> list[dict[str, Any]]:
    name = {"type": "string", "minLength": 1, "maxLength": NAME_CHARACTERS_MAX, "pattern": "^[ -~]+$"}
    return [
        _header(
            "Idempotency-Key",
            "The same key with the same content gets the first answer again, for a while.",
            name,
        ),
        _header(
            "X-Request-Id",
            "Comes back with the answer, and stands in the gateway's log, if it is 1 to 64 letters, digits, "
            "dots, hyphens and underscores without a phone number; otherwise a new one does.",
            {"type": "string"},
        ),
    ]


def _header(name: str, meaning: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "description": meaning, "schema": schema}


def _problem_response(status: int, only: Sequence[ProblemName] | None = None) -> dict[str, Any]:
    names = only or ANSWERS[status]
    examples = {
        name: {
            "value": {
                "type": f"{TYPE_PREFIX}{name}",
                "title": STATUSES[name][1],
                "status": status,
                "detail": UNCONFIRMED if name == "unconfirmed" else f"{STATUSES[name][1]}.",
            }
        }
        for name in names
    }
    return {
        "description": "; ".join(STATUSES[name][1] for name in names) + ".",
        "headers": _headers(status),
        "content": {MEDIA_TYPE: {"schema": {"$ref": REFERENCE.format(name="Problem")}, "examples": examples}},
    }


def _headers(status: int) -> dict[str, Any]:
    headers: dict[str, Any] = {"X-Request-Id": {"required": True, "schema": {"type": "string"}}}
    if status in RETRIED:
        headers["Retry-After"] = {
            "description": "Seconds after which the same request may be sent again.",
            "schema": {"type": "integer", "minimum": 0},
        }
    return headers


def _body(schema: dict[str, Any], **examples: object) -> dict[str, Any]:
    return {"schema": schema, "examples": {name: {"value": value} for name, value in examples.items()}}


def _schemas() -> dict[str, Any]:
    schemas = definitions(REFERENCE.format(name=""))
    for tag in OURS_TAGS:
        del schemas[tag]
        schemas.pop(data_name(tag), None)
    for type_ in TAPS:
        _allow_code(schemas[tag_of(type_)])
    kinds = {tag: REFERENCE.format(name=tag) for tag in map(tag_of, event_kinds()) if tag not in OURS_TAGS}
    schemas["Event"] = {
        "description": "A CloudEvents 1.0 event. An integer has no decimal point: 250.0 is refused.",
        "oneOf": [{"$ref": where} for where in kinds.values()],
        "discriminator": {"propertyName": "type", "mapping": kinds},
    }
    schemas["Batch"] = {
        "type": "array",
        "items": {"$ref": REFERENCE.format(name="Event")},
        "maxItems": EVENTS_MAX,
    }
    return schemas | _answers()


def _answers() -> dict[str, Any]:
    (_, results), schemas = msgspec.json.schema_components(
        (list[EventResult], EventResult), ref_template=REFERENCE
    )
    count = {"type": "integer", "minimum": 0}
    schemas["Results"] = {
        "type": "object",
        "properties": {
            **dict.fromkeys(OUTCOMES, count),
            "results": {"type": "array", "items": results},
        },
        "required": [*OUTCOMES, "results"],
    }
    schemas["Problem"] = {
        "type": "object",
        "description": "Problem details (RFC 9457); where events were looked at, with the result of each.",
        "properties": {
            "type": {"type": "string", "enum": [f"{TYPE_PREFIX}{name}" for name in STATUSES]},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            **schemas["Results"]["properties"],
        },
        "required": ["type", "title", "status", "detail"],
    }
    return schemas


def _allow_code(tap: dict[str, Any]) -> None:
    """Let a tap have a code in place of its id, of which the gateway makes the id."""
    tap["properties"]["code"] = {
        "type": "string",
        "minLength": 1,
        "description": "The code of the component's success callback, from which the id is made; it goes "
        "no further.",
    }
    tap["required"] = [name for name in tap["required"] if name != "id"]
    tap["oneOf"] = [{"required": ["id"]}, {"required": ["code"]}]
