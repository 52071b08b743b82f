"""Events for comparing the schema with the code, made from the types: right but for a thing or two."""

import json
from typing import Any

from hypothesis import strategies as st
from msgspec import Struct, inspect

from metering.event_schema import data_of, tag_of
from metering.exemption import OWNER_TYPES

NUMBER = "13800138000"
OPENID = "oABCDEFGHIJklmnop1234567890x"

PIECES = (
    "",
    " ",
    "a",
    "store-03",
    "张三",
    "三",
    "code:",
    ":",
    "-",
    "/",
    ".",
    "+",
    "o",
    "\n",
    "pack:",
    "trial",
    "86",
    "+86",
    "0086",
    "e7d524b842e625e2",
    "2026-10-17",
    "10:05:03",
    "T",
    "1760695503",
    "10.0.0.1",
    "1",
    "２",
    "+8521234567890",
    "138-0013-8000",
    NUMBER,
    OPENID,
    "8d4f2b1e-0c57-4a9e-9f5e-13800138000a",
)
TIMES = (
    "2026-10-17T10:05:03Z",
    "2026-10-17t10:05:03.120z",
    "2026-10-17 10:05:03+0800",
    "2026-10-17T10:05:03.1234567-00:00",
    "2017-01-01T00:00:00Z",
    "2017-01-01T07:59:59.999+08:00",
    "2016-12-31T20:00:00-08:00",
    "2050-01-01T00:00:00Z",
    "2050-01-01T08:00:00.001+08:00",
    "2050-01-01T08:00:00+08:00",
    "2026-02-29T00:00:00Z",
    "2026-02-31T00:00:00Z",
    "0000-01-01T00:00:00Z",
    "9999-12-31T23:59:59.9999999Z",
    "2026-10-17T24:00:00Z",
    "2026-10-17T10:05:60Z",
    "2026-10-17T10:05Z",
    "2026-10-17T10:05:03",
    "2026-10-17T10:05:03+08",
    "2026-10-17",
    "1760695503",
)
GOOD_TIMES = (*TIMES[:5], "2016-12-31T20:00:00-08:00", "2050-01-01T08:00:00+08:00")
NAMES = (
    "weather",
    "hotel",
    "phone",
    "phone_model",
    "userPhone",
    "USERPHONE",
    "Tel",
    "tel2",
    "user tel",
    "mobileNo",
    "MOBILE_NUMBER",
    "open-id",
    "sessionKeys",
    "手机号",
    "用户电话",
    "headphone",
    "HTTPPhone",
    "iPhone",
    "phone\n",
    "téléphone",
    "partitionkey",
    "calls",
    "errno",
)

texts = st.lists(st.sampled_from(PIECES), max_size=5).map("".join) | st.text(max_size=8)
wrong: st.SearchStrategy[Any] = st.sampled_from(
    (None, True, False, 0, 1, 1.0, 2.5, -1, 2**63, 2**80, "", "x", "quick", [], {}, [None], {"a": None})
)
anything = st.recursive(
    wrong | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=2),
    max_leaves=4,
)


REMOVED = object()

Spot = tuple[Any, Any, inspect.Type | None]
"""A container, a name or an index in it, and the type there; None for a field that no type has."""


@st.composite
def owners(draw: st.DrawFn) -> str:
    word = draw(st.sampled_from([word for kind, others in OWNER_TYPES.items() for word in (kind, *others)]))
    cased = draw(st.sampled_from((word, word.upper(), word.title())))
    space = draw(st.sampled_from(("", " ", "\t", "\u3000", "\x1c")))
    return f"{space}{cased.replace('_', draw(st.sampled_from('_- －')))}{space}"


def numbers(kind: inspect.IntType) -> tuple[int, int]:
    """The smallest and the largest number."""
    most = kind.le if kind.le is not None else (kind.lt - 1 if kind.lt is not None else 2**62)
    return int(kind.ge if kind.ge is not None else 0), int(most)


def good_texts(kind: inspect.StrType, name: str) -> st.SearchStrategy[str]:
    if kind.pattern is not None:
        return st.sampled_from(("trial", "uncovered", "exempt", "corrected", "pack:10001-0001"))
    if name in {"subject", "to"}:
        return st.sampled_from(("wxfb1f3d218d111092", "clock", "a" * 64))
    if name == "entity_type":
        return owners()
    return st.sampled_from(("a", "card_claim", "南京西路店", "e7d524b842e625e2", "10001-0001"))


def odd(kind: inspect.Type | None, name: object) -> st.SearchStrategy[Any]:
    """Values about the limits of a type and beyond them, and of other types."""
    match kind:
        case inspect.IntType():
            least, most = numbers(kind)
            own: st.SearchStrategy[Any] = st.sampled_from(
                (least - 1, least, most, most + 1, float(least), least + 0.5, str(least))
            )
        case inspect.StrType():
            longest = kind.max_length or 64
            own = texts | st.sampled_from(("", "x" * longest, "x" * (longest + 1), "店" * longest)) | owners()
        case inspect.DateTimeType():
            own = st.sampled_from(TIMES)
        case inspect.ListType():
            own = st.integers(0, (kind.max_length or 3) + 1).map(lambda size: ["x"] * size)
        case inspect.UnionType():
            own = st.one_of([odd(one, name) for one in kind.types])
        case _:
            own = anything
    return own | wrong | st.just(REMOVED)


def good(kind: inspect.Type, name: str) -> st.SearchStrategy[Any]:
    """Values that a type accepts."""
    match kind:
        case inspect.IntType():
            least, most = numbers(kind)
            return st.sampled_from((least, most)) | st.integers(least, most)
        case inspect.StrType():
            return good_texts(kind, name)
        case inspect.DateTimeType():
            return st.sampled_from(GOOD_TIMES)
        case inspect.LiteralType():
            return st.sampled_from(kind.values)
    assert isinstance(kind, inspect.BoolType | inspect.NoneType), f"make values of {kind} here"
    return st.booleans() if isinstance(kind, inspect.BoolType) else st.none()


def build(draw: st.DrawFn, kind: inspect.Type, name: str, spots: list[Spot]) -> Any:  # noqa: ANN401 - any JSON
    """A value that the types accept; what can be changed of it is added to `spots`."""
    match kind:
        case inspect.UnionType():
            return build(draw, draw(st.sampled_from(kind.types)), name, spots)
        case inspect.ListType():
            items = [build(draw, kind.item_type, name, spots) for _ in range(draw(st.integers(0, 2)))]
            spots.extend((items, index, kind.item_type) for index in range(len(items)))
            return items
        case inspect.StructType():
            return build_struct(draw, kind.cls, spots)
    return draw(good(kind, name))


def build_struct(
    draw: st.DrawFn, struct: type[Struct], spots: list[Spot], leave_out: str = ""
) -> dict[str, Any]:
    """The fields of a struct that the types accept."""
    described: Any = inspect.type_info(struct)
    fields: dict[str, Any] = {}
    for field in described.fields:
        name = field.encode_name
        if name == leave_out:
            continue
        if field.required or draw(st.booleans()):
            fields[name] = build(draw, field.type, name, spots)
        spots.append((fields, name, field.type))
    spots.append((fields, draw(st.sampled_from(NAMES)), None))
    return fields


@st.composite
def events(draw: st.DrawFn, kind: type[Struct]) -> dict[str, Any]:
    """Events of one type in structured mode, in which at most two things are odd."""
    spots: list[Spot] = []
    event = build_struct(draw, kind, spots, leave_out="data")
    event["type"] = tag_of(kind)
    data = data_of(kind)
    if data is not None:
        event["data"] = build_struct(draw, data, spots)
    spots.append((event, "data", None))
    for _ in range(draw(st.sampled_from((0, 1, 1, 1, 2)))):
        place, name, of = draw(st.sampled_from(spots))
        value = draw(odd(of, name))
        if value is not REMOVED:
            place[name] = value
        elif isinstance(place, dict):
            place.pop(name, None)
    if draw(st.integers(0, 9)) == 9:
        event["data_base64"] = draw(st.sampled_from(("e30=", "e30", "", None, 1)))
        if draw(st.booleans()):
            event.pop("data", None)
    return event


def json_of(event: dict[str, Any]) -> bytes:
    return json.dumps(event, ensure_ascii=False).encode(errors="surrogatepass")
