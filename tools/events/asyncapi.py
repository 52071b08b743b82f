"""The AsyncAPI 3 document of `phone-events`: both content modes of every type, key and partitioner."""

import re
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Final

from msgspec import Struct

from metering import topics
from metering.event_schema import data_name, data_of, definitions, event_kinds, tag_of
from tools.events.lines import base, binary_headers

Document = dict[str, Any]

SCHEMAS: Final = "#/components/schemas/"
CHANNEL: Final = "#/channels/phone-events"
BINDING: Final = "0.5.0"
"""Version of AsyncAPI's bindings for Kafka."""

STRUCTURED_TYPE: Final = "application/cloudevents+json"
ATTRIBUTES: Final = ("id", "source", "subject", "time")

DESCRIPTION: Final = (
    "Every event is a record of its own in the topic phone-events, in either content mode of the "
    "CloudEvents binding for Kafka. The key of a record is the event's subject, which is the appid. "
    "The partition is that of the key by murmur2, as of Kafka's Java client, which is not the default "
    "of every client: a record in another partition is refused. Publish with acks=all and "
    "enable.idempotence=true."
)


def asyncapi_document() -> Document:
    """The document; its schemas are the definitions of the schema of events."""
    tags = {tag_of(kind): kind for kind in event_kinds()}
    messages = {
        f"{tag}.{mode}": make(tag, kind)
        for tag, kind in tags.items()
        for mode, make in (("structured", _structured), ("binary", _binary))
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "phonemeter: the events of phone-events",
            "version": version("phonemeter"),
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": STRUCTURED_TYPE,
        "channels": {"phone-events": _channel(messages)},
        "operations": {
            "meter": {
                "action": "receive",
                "channel": {"$ref": CHANNEL},
                "summary": "The worker takes every event once; back ends publish them.",
                "bindings": {
                    "kafka": {
                        "groupId": {"type": "string", "const": topics.WORKER_GROUP},
                        "bindingVersion": BINDING,
                    }
                },
            }
        },
        "components": {
            "messages": messages,
            "schemas": {**definitions(SCHEMAS), **_headers()},
        },
    }


def _channel(messages: Mapping[str, object]) -> Document:
    config = next(topic.config for topic in topics.ALL if topic.name == topics.EVENTS)
    return {
        "address": topics.EVENTS,
        "title": "What happened",
        "description": next(topic.purpose for topic in topics.ALL if topic.name == topics.EVENTS),
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "x-partitioner": "murmur2",
        "bindings": {
            "kafka": {
                "topic": topics.EVENTS,
                "topicConfiguration": {
                    "cleanup.policy": [config["cleanup.policy"]],
                    "retention.ms": int(config["retention.ms"]),
                    "retention.bytes": int(config["retention.bytes"]),
                },
                "bindingVersion": BINDING,
            }
        },
    }


def _headers() -> Document:
    """The headers of both modes; in binary mode a message has its own `ce_type`."""
    text: Document = {"type": "string", "description": "The data is JSON, whatever this says."}
    attributes = {f"ce_{name}": {"$ref": f"{SCHEMAS}attribute.{name}"} for name in ATTRIBUTES}
    return {
        **{f"attribute.{name}": _attribute(name) for name in ATTRIBUTES},
        "structured.headers": {
            "description": "Without headers the value is taken for a structured event as well.",
            "type": "object",
            "properties": {"content-type": {"type": "string", "const": STRUCTURED_TYPE}},
        },
        "binary.headers": {
            "description": "The attributes in UTF-8, each once; those of extensions are kept and not read.",
            "type": "object",
            "properties": {
                "ce_specversion": {"type": "string", "const": "1.0"},
                **attributes,
                "content-type": text,
            },
            "required": ["ce_specversion", "ce_type", *attributes],
        },
    }


def _attribute(name: str) -> Document:
    """An attribute of every event."""
    first = tag_of(event_kinds()[0])
    properties: Document = definitions(SCHEMAS)[first]["properties"]
    attribute: Document = properties[name]
    return attribute


def _message(tag: str, mode: str, kind: type[Struct]) -> Document:
    return {
        "name": tag,
        "title": f"{tag}, {mode} mode",
        "summary": " ".join(re.split(r"\s+", kind.__doc__ or "")),
        "bindings": {
            # AsyncAPI's own schema refuses a reference here, as it takes it for two things at once.
            "kafka": {"key": _attribute("subject"), "bindingVersion": BINDING},
        },
    }


def _structured(tag: str, kind: type[Struct]) -> Document:
    return _message(tag, "structured", kind) | {
        "contentType": STRUCTURED_TYPE,
        "headers": {"$ref": f"{SCHEMAS}structured.headers"},
        "payload": {"$ref": f"{SCHEMAS}{tag}"},
        "examples": [{"headers": {"content-type": STRUCTURED_TYPE}, "payload": base(tag)}],
    }


def _binary(tag: str, kind: type[Struct]) -> Document:
    event = base(tag)
    named = {"type": "object", "properties": {"ce_type": {"type": "string", "const": tag}}}
    data = (
        [{"$ref": f"{SCHEMAS}{data_name(tag)}"}, {"$ref": f"{SCHEMAS}no_forbidden_names"}]
        if data_of(kind) is not None
        else []
    )
    return _message(tag, "binary", kind) | {
        "contentType": "application/json",
        "headers": {"type": "object", "allOf": [{"$ref": f"{SCHEMAS}binary.headers"}, named]},
        **({"payload": {"allOf": data}} if data else {}),
        "examples": [
            {"headers": binary_headers(event), **({"payload": event["data"]} if "data" in event else {})}
        ],
    }
