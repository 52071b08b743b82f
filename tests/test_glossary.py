"""docs/reference/glossary.md: its words are those of the code, and each class name has one meaning."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.product import PACKAGES

ROOT = Path(__file__).parents[1]
PAGE = "docs/reference/glossary.md"
VOCABULARY = "metering/README.md"
STANDARD_TERMS = ("fencing", "zombie", "back-pressure", "idempotent", "watermark")


def modules() -> Iterator[tuple[str, ast.Module]]:
    for folder in PACKAGES:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


MODULES = dict(modules())


def definitions() -> dict[str, list[str]]:
    """The modules that define each public top-level class."""
    found = defaultdict(list)
    for name, tree in MODULES.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(name)
    return found


CLASSES = definitions()


def section(heading: str) -> str:
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def rows(text: str, columns: int) -> list[list[str]]:
    """The rows of the tables with so many columns, without their heads."""
    cells = [line.strip("|").split(" | ") for line in re.findall(r"^\|.*\|$", text, re.MULTILINE)]
    found = [[cell.strip() for cell in row] for row in cells if len(row) == columns]
    return [row for row in found if row[0] not in {"word", "name", "before"}]


WORDS = rows((ROOT / PAGE).read_text(encoding="utf-8"), 4)


@pytest.mark.parametrize("row", WORDS, ids=lambda row: str(row[0]))
def test_a_word_has_its_meaning_in_chinese_too_and_is_in_the_code_that_the_page_names(row: list[str]) -> None:
    _, chinese, meaning, code = row
    assert re.search(r"[\u4e00-\u9fff]", chinese)
    assert meaning
    named = re.findall(r"`([^`]+)`", code)
    assert named
    assert [name for name in named if name not in CLASSES and name not in MODULES] == []


def test_two_words_are_two_words_in_chinese() -> None:
    assert len({row[1] for row in WORDS}) == len(WORDS)


def test_no_word_is_explained_twice() -> None:
    words = [word for row in WORDS for word in row[0].split(", ")]
    vocabulary = rows((ROOT / VOCABULARY).read_text(encoding="utf-8").partition("\n## The rules")[0], 4)
    assert len(words) == len(set(words)) > 40
    assert set(words) & {word for row in vocabulary for word in row[0].split(", ")} == set()


def test_a_class_name_is_defined_once_but_for_those_of_every_stage() -> None:
    conventional = {
        name for row in rows(section("Names that several stages have"), 2) for name in row[0].split(", ")
    }
    several = {f"`{name}`" for name, places in CLASSES.items() if len(places) > 1}
    assert several == conventional


def identifiers() -> set[str]:
    return {
        value.lstrip("_")
        for tree in MODULES.values()
        for node in ast.walk(tree)
        for field in ("name", "id", "attr", "arg")
        if isinstance(value := getattr(node, field, None), str)
    }


def pages() -> Iterator[tuple[str, str]]:
    for pattern in ("*.md", "docs/**/*.md", *(f"{folder}/**/*.md" for folder in PACKAGES)):
        for path in sorted(ROOT.glob(pattern)):
            name = str(path.relative_to(ROOT))
            if name != PAGE:
                yield name, path.read_text(encoding="utf-8")


def test_replaced_words_are_gone_from_the_code_and_the_pages() -> None:
    replaced = [row[0] for row in rows(section("Replaced words"), 2)]
    assert len(replaced) > 10
    names = {word.strip("`") for word in replaced if word.startswith("`")}
    assert names & identifiers() == set()
    phrases = [word for word in replaced if not word.startswith("`")]
    docstrings = [
        (name, node.value)
        for name, tree in MODULES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    texts = [*pages(), *docstrings]
    assert [
        (name, word)
        for name, text in texts
        for word in [*(f"`{name}`" for name in names), *phrases]
        if word in text.lower() or (word.startswith("`") and word in text)
    ] == []


@pytest.mark.parametrize("term", STANDARD_TERMS)
def test_the_standard_terms_are_used_by_the_code_that_they_are_about(term: str) -> None:
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "streams").glob("*.py")]
    texts += [path.read_text(encoding="utf-8") for path in (ROOT / "sinks").rglob("*.py")]
    texts += [path.read_text(encoding="utf-8") for path in (ROOT / "producers").glob("*.py")]
    texts += [path.read_text(encoding="utf-8") for path in (ROOT / "metering").glob("*.py")]
    assert any(term in text.lower() for text in texts)
