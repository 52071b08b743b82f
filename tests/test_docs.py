"""The pages say what is: links, files, commands, settings and dependencies on them exist."""

import importlib
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from phonemeter.settings import Settings, variable
from tests.commands_named import fault

ROOT = Path(__file__).parents[1]
HIDDEN = {".venv", ".tools", ".git", ".phonemeter"}
PAGES = sorted(
    page.relative_to(ROOT) for page in ROOT.rglob("*.md") if not HIDDEN & set(page.relative_to(ROOT).parts)
)
READMES = ("README.md", "README.zh-CN.md")


def text_of(page: str | Path) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def links_of(page: Path) -> list[str]:
    targets = re.findall(r"\]\(([^)\s]+)\)", text_of(page))
    return [target for target in targets if not re.match(r"[a-z]+:|#", target)]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    missing = [link for link in links_of(page) if not (ROOT / page.parent / link.split("#")[0]).exists()]
    assert missing == []


def anchors_of(page: Path) -> set[str]:
    """The anchors of a page's headings, as the common renderers make them."""
    headings = re.findall(r"^#+ (.+)$", text_of(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_anchor_of_a_link_is_a_heading(page: Path) -> None:
    for link in links_of(page):
        path, _, anchor = link.partition("#")
        if anchor:
            assert anchor in anchors_of(Path(page.parent, path)), link


FOLDERS = "|".join(
    sorted(folder.name for folder in ROOT.iterdir() if folder.is_dir() and folder.name not in HIDDEN)
)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    named = set(re.findall(rf"`((?:{FOLDERS})/[\w./-]*)`", text_of(page)))
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


def test_the_architecture_names_the_files_of_an_events_path() -> None:
    assert len(set(re.findall(r"`([a-z_]+/[\w./-]*)`", text_of("docs/explanation/architecture.md")))) > 20


def test_the_index_of_the_docs_has_every_page() -> None:
    pages = {page.relative_to("docs") for page in PAGES if page.parts[0] == "docs"} - {Path("README.md")}
    linked = {Path(link) for link in links_of(Path("docs/README.md"))}
    assert linked == {*pages, Path("../metering/README.md")}


def settings_rows() -> dict[str, tuple[str, str, str]]:
    rows = re.findall(
        r"^\| `(\w+)` \| `(PHONEMETER_\w+)` \| (.+?) \| (.+) \|$",
        text_of("docs/reference/settings.md"),
        re.MULTILINE,
    )
    return {name: (variable_name, default, meaning) for name, variable_name, default, meaning in rows}


def default_of(name: str) -> str:
    field = Settings.model_fields[name]
    if field.default_factory is not None:
        return "the user's cache directory, `phonemeter` in it"
    value = field.default
    if value in {"", None}:
        return "empty"
    return f"`{value.isoformat() if hasattr(value, 'isoformat') else value}`"


def test_every_setting_is_listed_once_and_no_other() -> None:
    listed = re.findall(r"^\| `(\w+)` \| `PHONEMETER_", text_of("docs/reference/settings.md"), re.MULTILINE)
    assert sorted(listed) == sorted(Settings.model_fields)


@pytest.mark.parametrize("name", Settings.model_fields)
def test_a_setting_is_explained_as_in_the_code(name: str) -> None:
    expected = (variable(name), default_of(name), Settings.model_fields[name].description)
    assert settings_rows()[name] == expected


def test_every_dependency_has_its_reason_and_no_other() -> None:
    project = tomllib.loads(text_of("pyproject.toml"))
    declared = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    names = sorted(re.split(r"[\[<>=!~]", requirement)[0] for requirement in declared)
    tables = (
        text_of("docs/explanation/dependencies.md").split("## What runs")[1].split("Outside of Python")[0]
    )
    assert sorted(re.findall(r"^\| `([\w-]+)` \| .{10,} \|$", tables, re.MULTILINE)) == names


def command_lines(page: str) -> list[list[str]]:
    """The commands of a page's shell blocks, comments left out."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", text_of(page), flags=re.MULTILINE | re.DOTALL)
    return [
        shlex.split(line, comments=True) for block in blocks for line in block.splitlines() if line.strip()
    ]


@pytest.mark.parametrize("page", [*READMES, "CONTRIBUTING.md"])
def test_every_target_of_make_on_the_page_exists(page: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", text_of("Makefile"), flags=re.MULTILINE))
    for program, *arguments in command_lines(page):
        if program == "make":
            assert arguments[0] in targets
        else:
            assert program in {"phonemeter", "curl"}


@pytest.mark.parametrize("page", READMES)
def test_the_options_of_the_demo_on_the_page_exist(page: str) -> None:
    section = text_of(page).split("make demo ARGS=", 1)[1].split("##", 1)[0]
    named = set(re.findall(r"[`\"](--[a-z-]+)", section))
    assert named == {"--file", "--as-is", "--continue", "--exit"}
    assert fault(f"demo {' '.join(named)}", whole=True) is None


def outline_of(page: Path) -> list[str]:
    """The levels of a page's headings and the widths of its tables, in order."""
    text = re.sub(r"^```.*?^```$", "", text_of(page), flags=re.MULTILINE | re.DOTALL)
    lines = re.findall(r"^(?:#+ |\|.*\|$)", text, flags=re.MULTILINE)
    return [line.strip() if line.startswith("#") else str(line.count(" | ")) for line in lines]


def code_of(page: Path) -> list[str]:
    """The code blocks of a page, without comments and texts in Chinese."""
    blocks = re.findall(r"^```.*?^```$", text_of(page), flags=re.MULTILINE | re.DOTALL)
    return [re.sub(r"\s+# .*$", "", block, flags=re.MULTILINE) for block in blocks]


def commands_of(page: Path) -> set[str]:
    return {" ".join(span.split()) for span in re.findall(r"`(phonemeter [^`]+)`", text_of(page))}


@pytest.mark.parametrize("chinese", [page for page in PAGES if page.name.endswith(".zh-CN.md")], ids=str)
def test_a_page_in_chinese_has_the_parts_of_the_english_one(chinese: Path) -> None:
    english = chinese.with_name(chinese.name.replace(".zh-CN", ""))
    assert outline_of(chinese) == outline_of(english)
    if english.name != "README.md":
        assert code_of(chinese) == code_of(english)
    assert commands_of(chinese) == commands_of(english)
    anchors = r"(?<=.md)#.*|(?<=^)#.*"
    pictures = r"-zh(?=(-\w+)?\.(svg|png)$)"
    leads = {re.sub(anchors, "", re.sub(pictures, "-en", link)) for link in links_of(chinese)}
    translated = {link.replace(".zh-CN.md", ".md") for link in leads} | {chinese.name}
    assert translated - {english.name} == {re.sub(anchors, "", link) for link in links_of(english)} - {
        english.name
    }


def test_both_readmes_have_the_same_commands() -> None:
    assert command_lines("README.md") == command_lines("README.zh-CN.md")


@pytest.mark.parametrize("page", READMES)
def test_the_python_on_the_page_is_python_whose_imports_work(page: str) -> None:
    (block,) = re.findall(r"^```python\n(.*?)^```$", text_of(page), flags=re.MULTILINE | re.DOTALL)
    compile(block, page, "exec")
    for module, names in re.findall(r"^from (\S+) import (.+)$", block, flags=re.MULTILINE):
        assert all(hasattr(importlib.import_module(module), name) for name in names.split(", "))


def test_the_changelog_has_the_form_of_keep_a_changelog() -> None:
    headings = re.findall(r"^##+ (.+)$", text_of("CHANGELOG.md"), flags=re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    sections = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    versions = re.compile(r"\[(Unreleased|\d+\.\d+\.\d+)\]( - \d{4}-\d\d-\d\d)?$")
    assert all(heading in sections or versions.match(heading) for heading in headings)
