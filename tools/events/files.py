"""The files in docs/reference that are made from the types of events."""

import json
from pathlib import Path
from typing import Any, Final

from metering.event_schema import event_schema
from tools.events.asyncapi import asyncapi_document
from tools.events.conformance import conformance_text

REFERENCE: Final = Path(__file__).parents[2] / "docs" / "reference"


def texts() -> dict[str, str]:
    """The text of each file.

    Raises:
        NoBaseError: a type has no conformance line.
    """
    return {
        "events.schema.json": _json(event_schema()),
        "asyncapi.json": _json(asyncapi_document()),
        "conformance.jsonl": conformance_text(),
    }


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"
