"""The page of the rules: it has every rule that is cited, each with a test, and its tables are the code's."""

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from msgspec import inspect

from metering import catalogue, exemption
from metering.account_migration import MigrationRefusal
from metering.charge_notices import NoticeRefusal
from metering.charges import UncoveredReason
from metering.corrections import CorrectionReason, CorrectionRefusal
from metering.events import AnyEvent, Event
from metering.lateness import UnsettledReason
from metering.ledger import AlertReason, EntryKind, RecoveryReason
from metering.money import MICRO_YUAN
from metering.openings import OpeningReason, OpeningRefusal
from metering.partition import meter
from metering.partition_state import PartitionState
from metering.purchases import PurchaseRefusal, RefundObjection, RefundRefusal
from metering.rejections import RejectionReason
from metering.settling import SettlementRefusal
from tests.metering.building import records
from tests.metering.test_simulation import RULES, traffic

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "metering" / "README.md").read_text(encoding="utf-8")
TEXT_SUFFIXES = {".py", ".md", ".sql", ".toml", ".yml", ".yaml", ".html"}
CITATION = re.compile(r"\b[Rr]ules? (\d+(?:(?:, | and | to )\d+)*)")


def section(title: str) -> str:
    (found,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, flags=re.MULTILINE | re.DOTALL)
    return str(found)


def rows(title: str, table: int = 0) -> list[list[str]]:
    """The cells of the rows of a table of a section."""
    tables = re.findall(r"^\|[-|]+\|\n((?:\|.*\n?)+)", section(title), flags=re.MULTILINE)
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in tables[table].splitlines()]


def words(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


RULES_ON_PAGE = {
    int(number): text
    for number, text in re.findall(
        r"^### Rule (\d+): [^\n]+\n(.*?)(?=^###|\Z)", section("The rules"), flags=re.MULTILINE | re.DOTALL
    )
}


def item(number: int, name: str) -> str:
    """The text of an item of a rule, such as `Code`; empty if the rule has none."""
    found = re.search(rf"^- {name}: (.*?)(?=^- |\Z)", RULES_ON_PAGE[number], re.MULTILINE | re.DOTALL)
    return found.group(1).strip() if found else ""


def cited_in(text: str) -> set[int]:
    return {int(number) for numbers in CITATION.findall(text) for number in re.findall(r"\d+", numbers)}


@cache
def files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    return [ROOT / name for name in listed if Path(name).suffix in TEXT_SUFFIXES and (ROOT / name).is_file()]


def docstrings(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            yield ast.get_docstring(node) or ""


def test_every_rule_that_is_cited_anywhere_is_on_the_page() -> None:
    cited = {
        (str(path.relative_to(ROOT)), number)
        for path in files()
        for number in cited_in(path.read_text(encoding="utf-8"))
    }
    assert {number for _, number in cited} >= set(range(1, 15))
    assert [(name, number) for name, number in sorted(cited) if number not in RULES_ON_PAGE] == []


def test_the_rules_are_numbered_in_order() -> None:
    assert list(RULES_ON_PAGE) == list(range(1, len(RULES_ON_PAGE) + 1))


@pytest.mark.parametrize("number", RULES_ON_PAGE)
def test_a_rule_that_is_carried_out_has_tests_that_name_it(number: int) -> None:
    carried_out = item(number, "Carried out").split(".")[0]
    assert carried_out in {"yes", "in part", "no"}
    assert item(number, "Source")
    if carried_out == "no":
        assert (item(number, "Code"), item(number, "Tests")) == ("", "")
        return
    tests = words(item(number, "Tests"))
    assert tests
    silent = [name for name in tests if number not in cited_in("\n".join(docstrings(ROOT / name)))]
    assert silent == []


def test_every_file_on_the_page_exists() -> None:
    named = {word for word in words(PAGE) if re.fullmatch(r"[\w/]+/[\w/]+\.\w+", word)}
    assert len(named) > 30
    assert sorted(name for name in named if not (ROOT / name).is_file()) == []
    assert all(item(number, "Code") for number in RULES_ON_PAGE if item(number, "Tests"))


def test_every_word_of_the_vocabulary_is_in_the_code() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "metering").glob("*.py")))
    vocabulary = rows("Vocabulary")
    assert len({word for word, *_ in vocabulary}) == len({chinese for _, chinese, *_ in vocabulary})
    for word, chinese, meaning, names in vocabulary:
        assert all((word, chinese, meaning, words(names)))
        for name in words(names):
            assert re.search(rf"^(?:class |def )?{name}\b", code, flags=re.MULTILINE), (word, name)


def test_the_price_list_is_the_catalogue() -> None:
    def micro_yuan(cell: str) -> int:
        yuan, _, rest = cell.replace(",", "").partition(".")
        return int(yuan) * MICRO_YUAN + (int(rest) * MICRO_YUAN // 10 ** len(rest) if rest else 0)

    listed = [
        (capability, int(calls.replace(",", "")), int(days), micro_yuan(price), micro_yuan(list_price))
        for capability, calls, days, price, list_price in rows("Price list")
    ]
    assert listed == [msgspec.structs.astuple(offer) for offer in catalogue.DEFAULT]


def test_the_owner_types_and_what_exempts_them_are_the_codes() -> None:
    listed = rows("Exempt owners")
    types = {kind.strip("`"): words(others) for kind, others, _ in listed}
    assert {kind: set(others) for kind, others in types.items()} == {
        kind: set(others) for kind, others in exemption.OWNER_TYPES.items()
    }
    assert {kind.strip("`") for kind, _, cell in listed if cell == "any"} == exemption.EXEMPT_TYPES
    by_category = {kind.strip("`"): set(words(cell)) for kind, _, cell in listed if words(cell)}
    assert by_category == exemption.EXEMPT_TYPE_CATEGORIES


def test_the_categories_in_which_any_owner_is_exempt_are_the_codes() -> None:
    (sentence,) = re.findall(
        r"^Whatever its type, an owner is exempt in (.*?)\.$", PAGE, re.MULTILINE | re.DOTALL
    )
    assert set(words(sentence)) == exemption.EXEMPT_CATEGORIES


def bounded(number: inspect.IntType) -> str:
    most = number.le if number.le is not None or number.lt is None else number.lt - 1
    return f"from {number.ge:,} to {most:,}" if most is not None else f"of {number.ge:,} or more"


def accepted(kind: inspect.Type) -> str:
    """The description of a type of msgspec in the words of the page."""
    match kind:
        case inspect.UnionType(types=(other, inspect.NoneType())):
            return accepted(other)
        case inspect.LiteralType(values=values):
            return " or ".join(f"`{value}`" for value in values)
        case inspect.StrType(min_length=least, max_length=most):
            length = f"at most {most}" if least is None else f"{least} to {most}"
            return "text" if most is None else f"text of {length} characters"
        case inspect.IntType():
            return f"integer {bounded(kind)}"
        case inspect.DateTimeType(tz=True):
            return "RFC 3339 time with a zone"
    return accepted_of_several(kind)


def accepted_of_several(kind: inspect.Type) -> str:
    if isinstance(kind, inspect.BoolType):
        return "`true` or `false`"
    if isinstance(kind, inspect.StructType):
        return f"object with {fields_of(kind)}"
    assert isinstance(kind, inspect.ListType)
    return f"list of at most {kind.max_length}{elements(kind.item_type)}"


def fields_of(kind: inspect.StructType) -> str:
    return ", ".join(f"`{field.encode_name}`" for field in kind.fields)


def elements(each: inspect.Type) -> str:
    if isinstance(each, inspect.StructType):
        return f" objects with {fields_of(each)}"
    return f" integers {bounded(each)}" if isinstance(each, inspect.IntType) else f", each {accepted(each)}"


def described(struct: type) -> Iterator[tuple[str, str, str]]:
    kind = inspect.type_info(struct)
    assert isinstance(kind, inspect.StructType)
    for field in kind.fields:
        if field.name != "data":
            yield f"`{field.encode_name}`", accepted(field.type), "yes" if field.required else "no"


def fields_in_code() -> list[tuple[str, str, str, str]]:
    types: dict[type, list[str]] = {}
    for event in get_args(AnyEvent):
        if "data" in event.__struct_fields__:
            data = next(f.type for f in msgspec.structs.fields(event) if f.name == "data")
            types.setdefault(data, []).append(f"`{event.__struct_config__.tag}`")
    return [(", ".join(names), *field) for data, names in types.items() for field in described(data)]


def test_the_fields_of_events_are_the_codes() -> None:
    assert [tuple(row) for row in rows("Fields of events")] == list(described(Event))
    assert [tuple(row) for row in rows("Fields of events", 1)] == fields_in_code()


def reasons_on_page() -> dict[str, set[str]]:
    table = rows("Words of `reason`")
    return {kind: set(words(reasons)) for kinds, reasons in table for kind in words(kinds)}


def test_the_words_of_reason_are_the_codes() -> None:
    listed = reasons_on_page()
    in_code: dict[EntryKind, tuple[str, ...]] = {
        "charge": ("taken_over", "settled"),
        "trial_charge": ("settled",),
        "exempt": ("settled",),
        "uncovered": (*get_args(UncoveredReason), "taken_over", "settled"),
        "purchase_refused": get_args(PurchaseRefusal),
        "refund_refused": get_args(RefundRefusal),
        "refund": (*get_args(RefundObjection), "migrated", "settled"),
        "migration_refused": get_args(MigrationRefusal),
        "lapse": ("refunded", "settled"),
        "opening": (*get_args(OpeningReason), "settled"),
        "opening_refused": get_args(OpeningRefusal),
        "registration": ("exempt", "charged"),
        "purchase": ("settled",),
        "correction": get_args(CorrectionReason),
        "correction_refused": get_args(CorrectionRefusal),
        "corrected": ("settled",),
        "followed": ("settled",),
        "alert": get_args(AlertReason),
        "recovery": get_args(RecoveryReason),
        "charge_notice": get_args(NoticeRefusal),
        "unsettled": get_args(UnsettledReason),
        "settlement_refused": get_args(SettlementRefusal),
        "rejection": get_args(RejectionReason),
    }
    assert listed == {kind: set(reasons) for kind, reasons in in_code.items()}


def test_no_entry_has_a_reason_that_is_not_on_the_page() -> None:
    listed = reasons_on_page()
    entries = meter(PartitionState(0), records(traffic(7)), RULES).entries
    found = {(entry.kind, entry.reason) for entry in entries if entry.reason}
    assert len(found) > 10
    assert sorted((kind, reason) for kind, reason in found if reason not in listed.get(kind, ())) == []
