"""The OpenAPI operations of the reads, made of the types that decode the questions and are the answers."""

from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from dashboards.http.answers import (
    AlertsPage,
    AppAnswer,
    AppsPage,
    BalanceAnswer,
    PacksPage,
    UsagePage,
)
from dashboards.http.event_answer import EventAnswer
from dashboards.http.examples import EXAMPLES
from dashboards.http.parameters import (
    AlertsParameters,
    AppsParameters,
    EventParameters,
    NoParameters,
    PacksParameters,
    UsageParameters,
    described,
)
from metering.events import APPID_PATTERN

REFERENCE: Final = "#/components/schemas/{name}"

CACHING: Final[dict[str, Any]] = {
    "ETag": {
        "description": "Send it as `If-None-Match` to be told 304 while the figures are the same.",
        "schema": {"type": "string"},
    },
    "Cache-Control": {"schema": {"type": "string"}},
}


class ReadDescription(NamedTuple):
    """One read: its path, the types of its question and of its answer, and what the document says of it."""

    path: str
    parameters: type[Struct]
    answer: type[Struct]
    summary: str
    description: str


READS: Final[dict[str, ReadDescription]] = {
    "apps": ReadDescription(
        "/v1/apps",
        AppsParameters,
        AppsPage,
        "List apps",
        "The apps that the key is for, in the order of their ids.",
    ),
    "app": ReadDescription(
        "/v1/apps/{appid}",
        NoParameters,
        AppAnswer,
        "Look at an app",
        "What it is registered as, calls left, forecast run-out, next lapse, and reasons of open alerts.",
    ),
    "balance": ReadDescription(
        "/v1/apps/{appid}/balance",
        NoParameters,
        BalanceAnswer,
        "Ask for the balance of an app",
        "The trial quota, and for each capability the calls left and the packs in consumption order.",
    ),
    "packs": ReadDescription(
        "/v1/apps/{appid}/packs",
        PacksParameters,
        PacksPage,
        "List packs of an app",
        "Terms of each pack, where its calls went, and what it holds, in consumption order.",
    ),
    "usage": ReadDescription(
        "/v1/apps/{appid}/usage",
        UsageParameters,
        UsagePage,
        "Ask for the use of an app",
        "Authorizations, calls and cost by Shanghai hour (up to 31 days), day (400) or month (3,700), in "
        "total or by scene and store. Hours, days and months without any have no row.",
    ),
    "alerts": ReadDescription(
        "/v1/apps/{appid}/alerts",
        AlertsParameters,
        AlertsPage,
        "List alerts of an app",
        "Alerts and recoveries, the newest first. An alert is open until its recovery; one of an expiry or "
        "of abnormal burn, for a week.",
    ),
    "event": ReadDescription(
        "/v1/events/{event_id:path}",
        EventParameters,
        EventAnswer,
        "Explain an event",
        "What it was decided and why, the balance before and after, its entries, and what changed since. "
        "The partition of the event is metered again from the log, one event at a time: that takes seconds.",
    ),
}

PATH_PARAMETERS: Final[dict[str, dict[str, Any]]] = {
    "appid": {"type": "string", "pattern": APPID_PATTERN.replace(r"\Z", "$")},
    "event_id": {"type": "string", "minLength": 1, "maxLength": 128},
}


def operation(name: str) -> dict[str, Any]:
    """The operation of a read."""
    read = READS[name]
    return {
        "operationId": f"read{name.capitalize()}",
        "summary": read.summary,
        "description": read.description,
        "parameters": [
            *(
                {"name": one, "in": "path", "required": True, "schema": schema}
                for one, schema in PATH_PARAMETERS.items()
                if f"{{{one}" in read.path
            ),
            *described(read.parameters),
            {
                "name": "If-None-Match",
                "in": "header",
                "required": False,
                "description": "ETags of answers that are here already.",
                "schema": {"type": "string"},
            },
        ],
        "responses": {
            "200": {
                "description": "The answer.",
                "headers": CACHING,
                "content": {
                    "application/json": {
                        "schema": {"$ref": REFERENCE.format(name=read.answer.__name__)},
                        "examples": {name: {"value": msgspec.to_builtins(EXAMPLES[name])}},
                    }
                },
            },
            "304": {"description": "The figures are the same.", "headers": CACHING},
        },
    }


def schemas() -> dict[str, Any]:
    """The schemas of all answers."""
    _, found = msgspec.json.schema_components(
        [read.answer for read in READS.values()], ref_template=REFERENCE
    )
    return found
