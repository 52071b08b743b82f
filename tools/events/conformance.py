"""The conformance lines: records with their outcome, ids of taps, partitions of keys."""

import hashlib
import json
from collections.abc import Iterator
from typing import Final

from metering.placement import partition_of
from tools.events.field_lines import field_lines
from tools.events.lines import APP, Line, refused
from tools.events.record_lines import record_lines
from tools.events.rule_lines import rule_lines

NAMELESS_CODES: Final = ("", "None", "null", "undefined")
"""Texts that a missing code becomes in the languages of back ends."""

KEYS: Final = (APP, "wx1", "wx12", "wx123", "wx1234", "clock", "a" * 64, "wx_-09AZaz")


def conformance_lines() -> list[Line]:
    """All lines."""
    return [*field_lines(), *rule_lines(), *record_lines(), *_id_lines(), *_partition_lines()]


def conformance_text() -> str:
    """The lines as JSON Lines."""
    return "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in conformance_lines())


def _id_lines() -> Iterator[Line]:
    for code in ("0a3Bc1", "0a3Bc2", "码:1"):
        yield {
            "name": f"the id of code {code}",
            "check": "id",
            "appid": APP,
            "code": code,
            "expected": {"id": hashlib.sha256(f"{APP}:{code}".encode()).hexdigest()},
            "why": "It is the SHA-256 of appid, a colon and the code in UTF-8, in small letters (rule 2).",
        }
    for code in NAMELESS_CODES:
        yield {
            "name": f"the id of code {code!r}",
            "check": "id",
            "appid": APP,
            "code": code,
            "expected": refused("invalid_field"),
            "why": "A tap without a code has no id: all such taps would be one call (rule 2).",
        }


def _partition_lines() -> Iterator[Line]:
    for key in KEYS:
        for partitions in (1, 4, 12):
            yield {
                "name": f"the partition of {key} of {partitions}",
                "check": "partition",
                "key": key,
                "partitions": partitions,
                "expected": {"partition": partition_of(key.encode(), partitions)},
                "why": "It is the lower 31 bits of murmur2 of the key, modulo the number of partitions.",
            }
