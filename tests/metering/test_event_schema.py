"""The schema of the events against the code: it refuses nothing that is accepted, and little more is."""

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from msgspec import Struct

from metering.event_schema import event_kinds, event_schema, tag_of
from metering.event_validation import read_event
from metering.events import EVENT_TYPES
from metering.exemption import OWNER_TYPES
from metering.forbidden_fields import FORBIDDEN_PARTS, FORBIDDEN_WORDS, is_forbidden_field
from metering.rejections import Rejection
from tests.metering.building import at, event, purchased, registered, succeeded
from tests.metering.schema_events import NUMBER, OPENID, events, json_of

Difference = Callable[[dict[str, Any], Rejection], bool]


@cache
def schema() -> dict[str, Any]:
    return event_schema()


@cache
def validator_of(tag: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": f"#/$defs/{tag}", "$defs": schema()["$defs"]})


def accepts(value: bytes) -> bool:
    """Return whether the whole schema accepts an event."""
    return bool(Draft202012Validator(schema()).is_valid(json.loads(value)))


def texts_in(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for pair in value.items() for one in pair for text in texts_in(one)]
    if isinstance(value, list):
        return [text for one in value for text in texts_in(one)]
    return [value] if isinstance(value, str) else []


def has_float(value: object) -> bool:
    if isinstance(value, dict | list):
        return any(map(has_float, value.values() if isinstance(value, dict) else value))
    return isinstance(value, float) and value.is_integer()


def names_a_day_at_an_end(event: dict[str, Any], rejection: Rejection) -> bool:
    if rejection.reason == "time_out_of_range":
        return re.search(r"^\S+ (2016-12-31|2017-01-01|2050-01-01)", rejection.sentence) is not None
    days = r"(-02-(29|3.)|-(04|06|09|11)-31|^0000|^9999)"
    return "RFC3339" in rejection.sentence and any(re.search(days, text) for text in texts_in(event))


DIFFERENCES: dict[str, Difference] = {
    "Whole numbers with a fraction": lambda event, _: has_float(event),
    "Days": names_a_day_at_an_end,
    "Comparisons": lambda event, rejection: (
        rejection.sentence.startswith(
            (
                "data.used_before",
                "data.store_budgets: expected each store once",
                "data.price_min_micro_yuan: expected no more",
            )
        )
        or (rejection.sentence.startswith("data.to: ") and event["data"]["to"] == event["subject"])
    ),
    "Persons": lambda _, rejection: rejection.reason == "phone_number",
    "Data in base64": lambda event, _: isinstance(event.get("data_base64"), str),
    "A last line feed": lambda event, _: any(text.endswith("\n") for text in texts_in(event)),
}
"""Events that the schema accepts and the code does not; the page explains each."""


@pytest.mark.slow
@pytest.mark.parametrize("kind", event_kinds(), ids=tag_of)
@settings(max_examples=max(300, settings().max_examples))
@given(data=st.data())
def test_the_schema_accepts_what_the_code_accepts_and_little_more(
    kind: type[Struct], data: st.DataObject
) -> None:
    event = data.draw(events(kind))
    outcome = read_event(json_of(event), now_ms=None)
    errors = [error.message for error in validator_of(tag_of(kind)).iter_errors(event)]
    if not isinstance(outcome, Rejection):
        assert errors == [], "the schema refuses what the code accepts"
    elif not errors:
        assert [name for name, applies in DIFFERENCES.items() if applies(event, outcome)], outcome


def test_the_page_names_every_difference_and_no_other() -> None:
    page = Path(__file__).parents[2].joinpath("docs", "reference", "event-schema.md").read_text("utf-8")
    table = page.split("| difference |")[1].split("\n\n")[0]
    assert re.findall(r"^\| ([A-Z][^|]*) \|", table, flags=re.MULTILINE) == list(DIFFERENCES)


def test_the_schema_is_one_and_has_every_type() -> None:
    Draft202012Validator.check_schema(schema())
    assert [one["$ref"] for one in schema()["oneOf"]] == [f"#/$defs/{tag}" for tag in EVENT_TYPES]


def test_every_pattern_is_one_for_validators_in_every_language() -> None:
    patterns = re.findall(r'"pattern": ("(?:[^"\\]|\\.)*")', json.dumps(schema()))
    assert len(patterns) > 20
    for pattern in map(json.loads, patterns):
        assert not re.search(r"\(\?|\\[ZAbBdDwW0-9]", pattern), pattern


@pytest.mark.parametrize(
    "text", [NUMBER, f"+86{NUMBER}", f"tel:{NUMBER}", f"张三{NUMBER}", "+8521234567890", OPENID]
)
def test_plain_numbers_and_openids_are_refused_by_the_schema_as_well(text: str) -> None:
    assert not accepts(succeeded(at(1), scene=text))
    assert not accepts(event("fact.corrected", at(1), {"event_id": "event-1", "set": {"name": text}}))


def test_numbers_that_are_no_phone_numbers_are_accepted() -> None:
    assert accepts(succeeded(at(1), store=f"code:{NUMBER}"))
    assert accepts(purchased(at(1), NUMBER))
    assert not accepts(succeeded(at(1), store=f"nr:{NUMBER}"))


@pytest.mark.parametrize("name", sorted({*FORBIDDEN_WORDS, *FORBIDDEN_PARTS, "userTel", "open_id", "PHONE"}))
def test_forbidden_names_are_refused_by_the_schema_at_any_depth(name: str) -> None:
    kind = "phone.authorization.succeeded"
    assert not accepts(event(kind, at(1), {"capability": "quick", name: 1}))
    assert not accepts(event(kind, at(1), {"capability": "quick", "more": [{"inner": {name: 1}}]}))
    assert accepts(event(kind, at(1), {"capability": "quick", "more": [{"inner": {f"{name}_x9z": 1}}]})) == (
        not is_forbidden_field(f"{name}_x9z")
    )


@pytest.mark.parametrize("word", [word for kind, others in OWNER_TYPES.items() for word in (kind, *others)])
def test_every_word_for_an_owner_type_is_accepted_in_any_case_and_no_other(word: str) -> None:
    assert accepts(registered(at(1), word))
    assert accepts(registered(at(1), f" {word.upper().replace('_', '-')} "))
    assert not accepts(registered(at(1), f"{word}x"))
