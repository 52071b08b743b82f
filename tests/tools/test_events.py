"""Descriptions of events for other languages: made from the code, valid, and the conformance lines hold."""

import json
from collections import Counter
from functools import cache
from typing import Any, get_args

import pytest
from jsonschema import Draft7Validator, Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from metering.event_reader import read, read_all
from metering.event_schema import event_schema
from metering.events import EVENT_TYPES, AnyEvent
from metering.placement import PartitionIndex, partition_of
from metering.records import Record
from metering.rejections import Rejection, RejectionReason
from metering.times import parse_time
from producers.codes import refusal_of_code
from producers.events import event_id
from tools import asyncapi
from tools.events import lines
from tools.events.files import REFERENCE, texts
from tools.events.lines import bytes_of
from tools.node_packages import NAMED

LINES: list[dict[str, Any]] = [
    json.loads(line) for line in (REFERENCE / "conformance.jsonl").read_text(encoding="utf-8").splitlines()
]
RECORDS = [line for line in LINES if line["check"] == "record"]
OF_STATE = {"beyond_horizon"}
"""Reasons that no single record can have."""


def named(line: dict[str, Any]) -> str:
    return str(line["name"]).encode("ascii", "backslashreplace").decode()


@pytest.mark.parametrize("name", ["events.schema.json", "asyncapi.json", "conformance.jsonl"])
def test_the_file_is_what_the_types_give(name: str) -> None:
    try:
        made = texts()
    except lines.NoBaseError as error:
        pytest.fail(str(error), pytrace=False)
    written = (REFERENCE / name).read_text(encoding="utf-8")
    assert written == made[name], f"docs/reference/{name} is not of this code: run `make schemas`."


def outcome_of(event: AnyEvent | Rejection) -> dict[str, str]:
    if isinstance(event, Rejection):
        return {"refused": event.reason}
    return {"accepted": str(event.__struct_config__.tag)}


@pytest.mark.parametrize("line", RECORDS, ids=named)
def test_a_record_has_the_outcome_of_its_line(line: dict[str, Any]) -> None:
    given = line["record"]
    record = Record(
        offset=0,
        recorded_at_ms=parse_time(line["recorded_at"]),
        key=bytes_of(given["key"]),
        value=bytes_of(given["value"]),
        headers=[(name, bytes_of(value)) for name, value in given["headers"]],
    )
    at = PartitionIndex(line["partition"], line["partitions"])
    assert outcome_of(read(record, at)) == line["expected"], line["why"]
    assert outcome_of(read_all([record], at=at).events[0]) == line["expected"], line["why"]


@pytest.mark.parametrize("line", [line for line in LINES if line["check"] == "id"], ids=named)
def test_an_id_is_that_of_its_line(line: dict[str, Any]) -> None:
    refusal = refusal_of_code(line["code"])
    made = {"refused": refusal.reason} if refusal else {"id": event_id(line["appid"], line["code"])}
    assert made == line["expected"]


@pytest.mark.parametrize("line", [line for line in LINES if line["check"] == "partition"], ids=named)
def test_a_partition_is_that_of_its_line(line: dict[str, Any]) -> None:
    assert {"partition": partition_of(line["key"].encode(), line["partitions"])} == line["expected"]


@pytest.mark.parametrize("tag", EVENT_TYPES)
def test_every_type_has_a_line_in_which_it_is_accepted(tag: str) -> None:
    assert any(line["expected"] == {"accepted": tag} for line in LINES), (
        f"No line of docs/reference/conformance.jsonl has an accepted event of the type {tag}: give it "
        "data in BASES of tools/events/lines.py and run `make schemas`."
    )


def test_a_type_without_a_base_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    others = {tag: data for tag, data in lines.BASES.items() if tag != "pack.refunded"}
    monkeypatch.setattr(lines, "BASES", others)
    with pytest.raises(lines.NoBaseError, match=r"The type pack.refunded has no conformance line: give"):
        texts()


@pytest.mark.parametrize("reason", sorted(set(get_args(RejectionReason)) - OF_STATE))
def test_every_reason_has_a_line(reason: str) -> None:
    assert any(line["expected"] == {"refused": reason} for line in LINES)


def test_the_lines_have_names_of_their_own_and_say_why() -> None:
    assert [name for name, count in Counter(line["name"] for line in LINES).items() if count > 1] == []
    assert [line["name"] for line in LINES if not line["why"].endswith(".")] == []


def test_the_schema_accepts_every_structured_line_that_is_accepted() -> None:
    schema = Draft202012Validator(event_schema())
    values = [
        json.loads(line["record"]["value"])
        for line in RECORDS
        if "accepted" in line["expected"]
        and not any(name == "ce_type" for name, _ in line["record"]["headers"])
    ]
    assert len(values) > 100
    assert [value for value in values if not schema.is_valid(value)] == []


@cache
def document() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((REFERENCE / "asyncapi.json").read_text(encoding="utf-8"))
    return loaded


@pytest.mark.stack
def test_the_asyncapi_document_is_valid_by_asyncapis_own_schema() -> None:
    official = json.loads(asyncapi.schema_file().read_text(encoding="utf-8"))
    validator = Draft7Validator(official, registry=Registry())
    errors = [f"{error.json_path}: {error.message:.300}" for error in validator.iter_errors(document())]
    assert errors == []


def test_every_reference_of_the_document_leads_somewhere() -> None:
    waiting: list[object] = [document()]
    references = set()
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            references |= {one["$ref"]} if isinstance(one.get("$ref"), str) else set()
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
    assert len(references) > 50
    for reference in references:
        place: Any = document()
        for part in reference.removeprefix("#/").split("/"):
            assert part in place, reference
            place = place[part]


@pytest.mark.parametrize("name", document()["components"]["messages"])
def test_the_example_of_a_message_fits_its_headers_and_its_payload(name: str) -> None:
    message = document()["components"]["messages"][name]
    (example,) = message["examples"]
    resource = Resource.from_contents(document(), default_specification=DRAFT202012)
    registry: Registry[Any] = Registry().with_resource("urn:document", resource)
    for part in ("headers", "payload"):
        if part in example:
            schema = _absolute(message[part])
            assert list(Draft202012Validator(schema, registry=registry).iter_errors(example[part])) == []
            assert not Draft202012Validator(schema, registry=registry).is_valid("x")


def test_the_lock_file_names_packages_by_hash_and_by_no_address() -> None:
    assert sorted(path.name for path in asyncapi.LOCKED.iterdir()) == sorted(NAMED)
    locked = json.loads((asyncapi.LOCKED / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    packages = [one for name, one in locked.items() if name]
    assert packages
    assert all(one["integrity"].startswith("sha512-") and "resolved" not in one for one in packages)


def _absolute(schema: Any) -> Any:  # noqa: ANN401 - any JSON
    """A schema of the document with references that lead into it from outside."""
    return json.loads(json.dumps(schema).replace('"#/', '"urn:document#/'))
