"""Conformance lines that follow from the types of events: each field, its limits and its type."""

from collections.abc import Iterator
from typing import Any, Final

from msgspec import Struct, inspect

from metering.event_schema import data_of, event_kinds, tag_of
from tools.events.lines import (
    REMOVED,
    Event,
    Line,
    accepted,
    base,
    binary,
    changed,
    refused,
    structured,
)

INTEGER_MAX: Final = 2**62


def field_lines() -> Iterator[Line]:
    """The lines of every type.

    Raises:
        NoBaseError: a type has none.
    """
    for kind in event_kinds():
        tag = tag_of(kind)
        yield from _lines_of(kind, tag, base(tag))


def _lines_of(kind: type[Struct], tag: str, event: Event) -> Iterator[Line]:
    yield structured(
        f"{tag} in structured mode", event, accepted(tag), "An event with usual data is accepted."
    )
    yield binary(
        f"{tag} in binary mode", event, accepted(tag), "Attributes are headers, the value is the data."
    )
    data = data_of(kind)
    if data is None:
        return
    yield structured(
        f"{tag} without data",
        changed(event, {"data": REMOVED}),
        refused("invalid_field"),
        "Events of this type have data.",
    )
    # mypy does not know that this is the type of a struct.
    described: Any = inspect.type_info(data)
    for field in described.fields:
        yield from _lines_of_field(tag, event, field)


def _lines_of_field(tag: str, event: Event, field: inspect.Field) -> Iterator[Line]:
    name, path = field.encode_name, f"data.{field.encode_name}"
    if field.required:
        yield structured(
            f"{tag} without {name}",
            changed(event, {path: REMOVED}),
            refused("invalid_field"),
            f"{path} is required.",
        )
        yield structured(
            f"{tag} with {name} null",
            changed(event, {path: None}),
            refused("invalid_field"),
            f"A null is an absent field, and {path} is required.",
        )
    elif path not in {"data.set", "data.void"}:
        yield structured(
            f"{tag} with {name} null",
            changed(event, {path: None}),
            accepted(tag),
            f"A null is an absent field, and {path} may be absent.",
        )
    for value, why in _wrong_values(_without_null(field.type)):
        yield structured(
            f"{tag} with {name} {why.partition(':')[0]}",
            changed(event, {path: value}),
            refused("invalid_field"),
            f"{path} {why.partition(': ')[2]}.",
        )


def _without_null(kind: inspect.Type) -> inspect.Type:
    if isinstance(kind, inspect.UnionType):
        (kind,) = (one for one in kind.types if not isinstance(one, inspect.NoneType))
    return kind


def _wrong_values(kind: inspect.Type) -> Iterator[tuple[Any, str]]:
    """Values that the type refuses, each with what it is and what is expected."""
    match kind:
        case inspect.IntType():
            yield from _wrong_numbers(kind)
        case inspect.StrType():
            yield from _wrong_texts(kind)
        case inspect.LiteralType():
            yield "other", f"another word: is one of {', '.join(map(str, kind.values))}"
        case inspect.DateTimeType():
            yield "2026-10-17T10:05:03", "without a zone: is an RFC 3339 time with a zone"
            yield 1_792_231_503, "a number: is an RFC 3339 time and no number"
        case inspect.StructType():
            yield [], "a list: is an object"
        case _:
            yield "x", "a text: is of another type"


def _wrong_numbers(kind: inspect.IntType) -> Iterator[tuple[Any, str]]:
    yield 1.0, "a float: is an integer, also in its text"
    yield "1", "a text: is an integer and no text"
    if kind.ge is not None:
        yield kind.ge - 1, f"too small: is at least {kind.ge}"
    most = kind.le if kind.le is not None else (kind.lt - 1 if kind.lt is not None else INTEGER_MAX)
    if most < INTEGER_MAX:
        yield most + 1, f"too large: is at most {most}"


def _wrong_texts(kind: inspect.StrType) -> Iterator[tuple[Any, str]]:
    yield 1, "a number: is a text"
    if kind.min_length:
        yield "", "empty: is not empty"
    if kind.max_length:
        yield "x" * (kind.max_length + 1), f"too long: has at most {kind.max_length} characters"
