"""Every `phonemeter` command that a text names, parsed by the command line itself."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import typer

from phonemeter.cli.program import all_commands

ROOT: Final = Path(__file__).parents[1]
HIDDEN: Final = frozenset({".venv", ".tools", ".git", ".phonemeter", "tests", "build"})
SUFFIXES: Final = frozenset({".md", ".py", ".yml", ".toml", ".sql", ".env"})
PROSE: Final = frozenset(
    [
        "authors",
        "by",
        "did",
        "does",
        "from",
        "grows",
        "has",
        "in",
        "is",
        "meters",
        "on",
        "publishes",
        "program",
        "settings",
        "takes",
        "that",
        "this",
        "was",
    ]
)
"""Words that follow the name of the project where a sentence, and no command, goes on."""

FENCE: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN: Final = re.compile(r"`([^`]+)`")
NAMED: Final = re.compile(r"(?<![\w./-])phonemeter ([a-z-]+)")


class Named(NamedTuple):
    """A command as a text names it: the words after `phonemeter`, and whether all of them are of it."""

    where: str
    words: str
    whole: bool


def texts() -> Iterator[tuple[str, str]]:
    """The files that people read, or whose strings they do, and each text."""
    for path in sorted(ROOT.rglob("*")):
        name = path.relative_to(ROOT)
        if HIDDEN & set(name.parts) or not path.is_file():
            continue
        if path.suffix in SUFFIXES or path.name == "Makefile":
            yield str(name), path.read_text(encoding="utf-8")


def named_in(where: str, text: str) -> Iterator[Named]:
    """The commands that a file names: in code, between backticks, or in a sentence."""
    if where.endswith(".py"):
        for string in _strings(ast.parse(text)):
            yield from _in_prose(where, string)
        return
    if where.endswith(".md"):
        for language, block in FENCE.findall(text):
            if language in {"", "sh", "console"}:
                for line in block.splitlines():
                    yield from _in_line(where, line)
        text = FENCE.sub("", text)
    # A paragraph or a comment may break a command over two lines.
    broken = r"\n\s*" if where.endswith(".md") else r"\n(?:#|-- )\s*"
    yield from _in_prose(where, re.sub(broken, " ", text))


def fault(words: str, *, whole: bool) -> str | None:
    """The command line's refusal of these words; None if it accepts them.

    Unless the words are the `whole` of a command, a sentence may go on behind them.
    """
    command: Any = typer.main.get_command(all_commands())
    # An ellipsis says that there may be more of the same.
    rest = [re.sub(r"(\.\.\.|…)$", "", word) for word in shlex.split(words)]
    rest = [word for word in rest if word]
    while rest and hasattr(command, "commands"):
        if rest[0] in {option for parameter in command.params for option in parameter.opts}:
            rest = rest[1:]
            continue
        name = rest[0] if whole else rest[0].rstrip(".,;:)")
        if name not in command.commands:
            return f"there is no command {name!r}; there are: {', '.join(command.commands)}"
        command = command.commands[name]
        if not whole and name != rest[0]:
            return None
        rest = rest[1:]
    if hasattr(command, "commands"):
        return None
    if not whole:
        rest = [word.rstrip(".,;:)") for word in rest if word.startswith("--")]
    if "--help" in rest:
        return None
    context = command.context_class(command)
    try:
        _, left, _ = command.make_parser(context).parse_args(rest)
    except Exception as error:  # noqa: BLE001 - of a library within a library
        # Who names an option need not give its value.
        return str(error) if type(error).__name__ == "NoSuchOption" else None
    return f"{command.name} takes no {left[0]!r}" if left else None


def _in_line(where: str, line: str) -> Iterator[Named]:
    """The command of a line in a block of shell commands and what they print."""
    for match in NAMED.finditer(line):
        if match[1] not in PROSE or match[1] == "settings":
            words = re.split(r"\s+#|\s*[|>&]|\)", line[match.start(1) :])[0]
            yield Named(where, words, whole=True)


def _in_prose(where: str, text: str) -> Iterator[Named]:
    for span in SPAN.findall(text):
        one_line = " ".join(span.split())
        if NAMED.match(one_line):
            words = one_line.removeprefix("phonemeter ")
            yield Named(where, re.sub(r"[\[\]]", "", words), whole=True)
    for match in NAMED.finditer(SPAN.sub("", text)):
        if match[1] not in PROSE:
            words = re.split(r"[^\w .,;:)=-]", SPAN.sub("", text)[match.start(1) :][:200])[0]
            yield Named(where, re.sub(r"\s+", " ", words), whole=False)


def _strings(tree: ast.AST) -> Iterator[str]:
    """The strings of a module, docstrings and the help of options among them."""
    inner = {
        id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)
    } - {id(node) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else "VALUE" for part in node.values
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
            yield node.value
