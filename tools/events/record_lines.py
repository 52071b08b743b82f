"""Conformance lines of records: JSON and UTF-8, persons, keys and partitions, content modes."""

import base64
from collections.abc import Iterator

from metering.events import VALUE_BYTES_MAX
from metering.placement import partition_of
from metering.rejections import RejectionReason
from tools.events.lines import (
    APP,
    NUMBER,
    OPENID,
    PARTITIONS,
    PURCHASE,
    REMOVED,
    STRUCTURED_HEADERS,
    TAKEN,
    TAP,
    Line,
    accepted,
    base,
    binary,
    binary_headers,
    changed,
    record_line,
    refused,
    structured,
    tap_line,
    text_of,
)


def record_lines() -> Iterator[Line]:
    """The lines."""
    yield from _json()
    yield from _persons()
    yield from _keys()
    yield from _structured_mode()
    yield from _binary_mode()


def _json() -> Iterator[Line]:
    text = text_of(TAP)
    largest = changed(TAP, {"padding": ""})
    room = VALUE_BYTES_MAX - len(text_of(largest).encode())
    yield tap_line(f"{VALUE_BYTES_MAX} bytes", {"padding": "x" * room}, None, "So large an event may be.")
    yield tap_line(f"{VALUE_BYTES_MAX + 1} bytes", {"padding": "x" * (room + 1)}, "too_large", "No larger.")
    broken = {
        "an empty value": "",
        "a cut value": text[:-1],
        "two events in one value": text + text,
        "a list of events": f"[{text}]",
        "single quotes": text.replace('"', "'"),
        "half of a surrogate pair": text.replace("store-03", "\\ud800"),
    }
    for name, value in broken.items():
        reason: RejectionReason = "invalid_field" if value.startswith("[") else "not_json"
        yield record_line(name, value, refused(reason), "A record is one event, and one JSON object.")
    yield record_line("no value", None, refused("not_json"), "A tombstone is no event.")
    yield record_line(
        "text in GBK", text.replace("store-03", "静安").encode("gbk"), refused("not_utf8"), "Text is UTF-8."
    )
    yield record_line(
        "text in GBK in an unknown field",
        text.replace('"data":', '"note":"静安","data":').encode("gbk"),
        refused("not_utf8"),
        "The whole value is UTF-8, also where nobody reads it.",
    )
    doubled = {
        "the id twice": text.replace('"id":', '"id":"9f2c","id":'),
        "a field of data twice": text.replace('"scene":', '"scene":"home","scene":'),
        "an unknown field twice": text.replace('"data":', '"a":1,"a":1,"data":'),
        "the type twice, once escaped": text.replace('"id":', '"\\u0069d":"9f2c","id":'),
    }
    for name, value in doubled.items():
        yield record_line(
            name, value, refused("doubled_key"), "One reader takes the first, another the last."
        )
    yield record_line("spaces and line feeds", f" {text}\n", TAKEN, "JSON allows them.")
    yield record_line(
        "fields in another order",
        text_of({name: TAP[name] for name in reversed(TAP)}),
        TAKEN,
        "It means nothing.",
    )


def _persons() -> Iterator[Line]:
    seen: dict[str, dict[str, object]] = {
        "a phone number as scene": {"data.scene": NUMBER},
        "a phone number in a sentence": {"data.scene": f"张三店{NUMBER}"},
        "a phone number with its country's code": {"data.scene": f"+86 {NUMBER}"},
        "a phone number in groups": {"data.scene": "138-0013-8000"},
        "a phone number in wide digits": {"data.scene": "１３８００１３８０００"},
        "a number of Hong Kong": {"data.scene": "+852 2123 4567"},
        "a phone number as id": {"id": NUMBER},
        "a phone number in the source": {"source": f"/backend/{NUMBER}"},
        "a phone number as client": {"data.client": NUMBER},
        "an openid as client": {"data.client": OPENID},
        "a phone number as store": {"data.store": NUMBER},
        "a field named phoneNumber": {"data.phoneNumber": ""},
        "a field named open_id": {"open_id": "x"},
        "a field named 手机号": {"data.extra": [{"手机号": 1}]},
        "a field that ends in Tel": {"data.userTel": "x"},
    }
    for name, changes in seen.items():
        yield tap_line(name, changes, "phone_number", "No phone number and no openid may enter.")
    passed: dict[str, dict[str, object]] = {
        "a store's code of eleven digits": {"data.store": f"code:{NUMBER}"},
        "a hash with eleven digits in a row": {"id": f"ab{NUMBER}ab{NUMBER}"},
        "a time as scene": {"data.scene": "2026-10-17 10:05:03"},
        "twelve digits": {"data.scene": "138001380001"},
        "a field named hotel": {"data.hotel": "x"},
        "a field named phone_model": {"data.phone_model": "x"},
    }
    for name, changes in passed.items():
        yield tap_line(name, changes, None, "It is no phone number and no openid.")
    yield structured(
        "a pack id of eleven digits",
        changed(PURCHASE, {"data.pack_id": NUMBER, "data.order_id": f"order-{NUMBER}"}),
        accepted("pack.purchased"),
        "WeChat makes such names; in one word eleven digits are no phone number.",
    )
    yield structured(
        "a pack id that is an openid",
        changed(PURCHASE, {"data.pack_id": OPENID}),
        refused("phone_number"),
        "Openids are searched for in every text.",
    )
    yield structured(
        "a phone number in the name of an owner",
        changed(base("account.registered"), {"data.name": f"某店 {NUMBER}"}),
        refused("phone_number"),
        "Every text of the format is searched.",
    )


def _keys() -> Iterator[Line]:
    text, right = text_of(TAP), partition_of(APP.encode(), PARTITIONS)
    yield record_line("no key", text, refused("key_missing"), "The key is the subject.", key=None)
    yield record_line("an empty key", text, refused("key_missing"), "The key is the subject.", key="")
    yield record_line("another key", text, refused("key_mismatch"), "The key is the subject.", key="wx-other")
    yield record_line("the key in quotes", text, refused("key_mismatch"), "It is not JSON.", key=f'"{APP}"')
    yield record_line(
        "the key in large letters", text, refused("key_mismatch"), "Case matters in keys.", key=APP.upper()
    )
    yield record_line(
        "another partition",
        text,
        refused("wrong_partition"),
        "The partitioner is murmur2; an app in two partitions would be charged twice.",
        partition=(right + 1) % PARTITIONS,
    )
    tick = text_of(base("clock.ticked"))
    for partition in range(PARTITIONS):
        yield record_line(
            f"a clock tick in partition {partition}",
            tick,
            accepted("clock.ticked"),
            "Clock ticks are for whole partitions.",
            key="clock",
            partition=partition,
        )


def _structured_mode() -> Iterator[Line]:
    text = text_of(TAP)
    read = {
        "no headers": (),
        "a content type with parameters": (("Content-Type", "application/cloudevents+json; charset=UTF-8"),),
        "a content type of JSON alone": (("content-type", "application/json"),),
        "structured mode with ce headers": (*STRUCTURED_HEADERS, ("ce_specversion", "1.0"), ("ce_id", "x")),
        "other headers": (("traceparent", "00-ab"), ("none", None), ("bytes", b"\xff\x00")),
    }
    for name, headers in read.items():
        yield record_line(name, text, TAKEN, "The value is the event.", headers=headers)
    for name in ("application/cloudevents-batch+json", "application/cloudevents+avro"):
        yield record_line(
            f"content type {name}",
            f"[{text}]" if "batch" in name else text,
            refused("not_json"),
            "Each event is a record of its own, in JSON.",
            headers=(("content-type", name),),
        )
    encoded = base64.b64encode(text_of(TAP["data"]).encode()).decode()
    inside = changed(TAP, {"data": REMOVED, "data_base64": encoded})
    yield structured("data in base64", inside, TAKEN, "Some SDKs write JSON data so.")
    yield structured(
        "data twice", changed(TAP, {"data_base64": encoded}), refused("invalid_field"), "One of them only."
    )
    broken: dict[str, tuple[str, RejectionReason]] = {
        "base64 that is none": ("?", "invalid_field"),
        "base64 of no JSON": (base64.b64encode(b"x").decode(), "not_json"),
    }
    for name, (value, reason) in broken.items():
        event = changed(inside, {"data_base64": value})
        yield structured(name, event, refused(reason), "The data is JSON, in base64 of the usual alphabet.")


def _binary_mode() -> Iterator[Line]:
    for name in ("id", "source", "type", "subject", "time"):
        yield binary(
            f"binary mode without ce_{name}",
            TAP,
            refused("invalid_field"),
            f"Every event has {name}; the key does not replace it.",
            headers={f"ce_{name}": REMOVED},
        )
    no_version = {"ce_specversion": REMOVED}
    yield binary(
        "binary mode without ce_specversion",
        TAP,
        refused("invalid_field"),
        "It marks the mode; without it the value is taken for a structured event.",
        headers=no_version,
    )
    yield binary(
        "an empty ce_id", TAP, refused("invalid_field"), "An id is not empty.", headers={"ce_id": ""}
    )
    yield binary(
        "a header in GBK",
        TAP,
        refused("not_utf8"),
        "Headers are UTF-8.",
        headers={"ce_source": "/静安".encode("gbk")},
    )
    for content_type in ("text/plain", REMOVED):
        shown = "no content type" if content_type is REMOVED else f"content type {content_type}"
        yield binary(
            f"binary mode with {shown}",
            TAP,
            TAKEN,
            "The data is JSON, whatever the header says.",
            headers={"content-type": content_type},
        )
    yield binary(
        "binary mode with an extension", TAP, TAKEN, "Extensions are kept.", headers={"ce_partitionkey": APP}
    )
    yield binary(
        "binary mode with ce_data",
        TAP,
        refused("invalid_field"),
        "Data is the value.",
        headers={"ce_data": "{}"},
    )
    yield binary(
        "binary mode with the event as its value",
        TAP,
        refused("invalid_field"),
        "The value is the data alone, and a whole event has no capability.",
        value=text_of(TAP),
    )
    yield binary("binary mode with a broken value", TAP, refused("not_json"), "The data is JSON.", value="{")
    yield binary(
        "binary mode without a value",
        TAP,
        refused("invalid_field"),
        "Events of this type have data.",
        value=b"",
    )
    yield record_line(
        "a ce header twice",
        text_of(TAP["data"]),
        refused("doubled_key"),
        "One reader takes the first, another the last.",
        headers=[("ce_id", "9f2c"), *binary_headers(TAP).items()],
    )
