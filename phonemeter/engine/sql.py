"""Just enough SQL reading to serve a statement: its kind, where INSERT data starts, which FORMAT it asks for.

This is a tokenizer, not a parser: the engine's own parser (`classify_query`) decides what a statement does.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

_TOKEN: Final = re.compile(
    r"""(?P<blank>\s+|--[^\n]*|\#[ !][^\n]*|/\*.*?\*/)
      | (?P<string>'(?:[^'\\]|\\.|'')*')
      | (?P<quoted>`(?:[^`\\]|\\.|``)*`|"(?:[^"\\]|\\.|"")*")
      | (?P<heredoc>\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
      | (?P<word>[^\W\d]\w*)
      | (?P<number>\d\w*)
      | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
_DATA_GAP: Final = re.compile(r"[ \t\f]*\r?\n?")
_OPENING: Final = "([{"
_CLOSING: Final = ")]}"
_TABLE_NAMED_NEXT: Final = frozenset({"TABLE", "INTO", "EXISTS", "VIEW"})
_NO_DATA: Final = frozenset({"SELECT", "WITH", "FROM", "EXPLAIN", "TABLE", "WATCH"})


class Token(NamedTuple):
    """A token, where it is, and how many brackets are open around it."""

    kind: str
    text: str
    start: int
    end: int
    depth: int

    @property
    def word(self) -> str:
        """The upper-case text of a bare word, else nothing."""
        return self.text.upper() if self.kind == "word" else ""


@dataclass(frozen=True, slots=True)
class Insert:
    """An INSERT that carries data: everything needed to run it from a file instead."""

    target: str
    columns: str
    settings: str
    format: str
    data_start: int
    inline: bool

    def from_file(self, path: str, input_format: str) -> str:
        """The same INSERT, reading `path`."""
        source = f"FROM INFILE '{path}' COMPRESSION 'none' {self.settings} FORMAT {input_format}"
        return f"INSERT INTO {self.target} {self.columns} {source}"


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement as the server needs to know it."""

    text: str
    """Without FORMAT and INTO OUTFILE, which are the server's (or the client's) business."""
    keyword: str
    words: tuple[str, ...]
    """The first bare words, upper case: enough to tell SYSTEM FLUSH from SYSTEM SHUTDOWN."""
    calls: frozenset[str]
    """Lower-case names of functions, table functions and table engines: what is followed by a bracket."""
    format: str
    into_outfile: bool
    from_infile: bool
    with_totals: bool
    insert: Insert | None

    @property
    def streams(self) -> bool:
        """Whether the engine can stream the result; it does so for SELECT only."""
        return self.keyword in {"SELECT", "WITH", "FROM"}


def tokens(text: str, start: int = 0) -> Iterator[Token]:
    """The tokens of `text` without blanks and comments."""
    depth = 0
    for match in _TOKEN.finditer(text, start):
        kind = match.lastgroup or "other"
        if kind == "tag":
            kind = "heredoc"
        if kind == "blank":
            continue
        value = match[0]
        if value in _CLOSING:
            depth = max(0, depth - 1)
        yield Token(kind, value, match.start(), match.end(), depth)
        if value in _OPENING:
            depth += 1


def parse(text: str) -> Statement:
    """Read one statement; what can't be read is left to the engine to complain about."""
    keyword = next((token.word for token in tokens(text) if token.text != "("), "")
    insert = _parse_insert(text) if keyword == "INSERT" else None
    read = text[: insert.data_start] if insert else text
    found = list(tokens(read))
    return Statement(
        text=_without_output_clauses(text, found) if insert is None else text,
        keyword=keyword,
        words=tuple(token.word for token in found[:8]),
        calls=_calls(found),
        format=_output_format(found) if insert is None else "",
        into_outfile=_has(found, "INTO", "OUTFILE"),
        from_infile=_has(found, "FROM", "INFILE"),
        with_totals=_has(found, "WITH", "TOTALS"),
        insert=insert,
    )


def _has(found: list[Token], first: str, second: str) -> bool:
    return any(a.word == first and b.word == second for a, b in pairwise(found))


def _calls(found: list[Token]) -> frozenset[str]:
    named = {
        name.text.strip('`"').lower()
        for before, name, after in zip([None, *found], found, found[1:], strict=False)
        if after.text == "(" and not (before and before.word in _TABLE_NAMED_NEXT)
    }
    return frozenset(named)


def _format_at(found: list[Token]) -> int | None:
    """The index of a FORMAT clause: `FORMAT Name`, then nothing, `;` or SETTINGS."""
    for i in range(len(found) - 2, -1, -1):
        if found[i].word == "FORMAT" and found[i].depth == 0 and found[i + 1].kind == "word":
            rest = found[i + 2 : i + 3]
            return i if not rest or rest[0].text == ";" or rest[0].word == "SETTINGS" else None
    return None


def _output_format(found: list[Token]) -> str:
    at = _format_at(found)
    return found[at + 1].text if at is not None else ""


def _without_output_clauses(text: str, found: list[Token]) -> str:
    at = _format_at(found)
    outfile = next(
        (
            i
            for i, t in enumerate(found)
            if t.depth == 0 and t.word == "INTO" and _has(found[i : i + 2], "INTO", "OUTFILE")
        ),
        None,
    )
    if at is None and outfile is None:
        return text
    first = outfile if outfile is not None else at
    last = at + 2 if at is not None else len(found)
    tail = text[found[last].start :] if last < len(found) else ""
    return text[: found[first or 0].start] + tail


def _parse_insert(text: str) -> Insert | None:
    """Split an INSERT that carries or awaits data; None for INSERT ... SELECT and whatever else has none."""
    stream = tokens(text)
    next(stream, None)
    token = next(stream, None)
    if token is not None and token.word == "INTO":
        token = next(stream, None)
    if token is not None and token.word == "TABLE":
        token = next(stream, None)
    if token is None or token.word == "FUNCTION" or token.kind not in {"word", "quoted"}:
        return None
    target_start, target_end = token.start, token.end
    token = next(stream, None)
    while token is not None and token.text == ".":
        token = next(stream, None)
        if token is not None:
            target_end, token = token.end, next(stream, None)
    columns, settings_start = "", None
    end = len(text)
    if token is not None and token.text == "(":
        opened = token.start
        inner = next(stream, None)
        if inner is not None and inner.word in _NO_DATA:
            return None
        while inner is not None and not (inner.text == ")" and inner.depth == 0):
            inner = next(stream, None)
        columns = text[opened : inner.end if inner else end]
        token = next(stream, None)
    format_name, data_start = "", end
    while token is not None:
        if token.word in _NO_DATA or token.text == "(":
            return None
        if token.word == "SETTINGS":
            settings_start = token.start
        elif token.word in {"VALUES", "FORMAT"}:
            end, format_name, data_start = token.start, "Values", token.end
            if token.word == "FORMAT":
                named = next(stream, None)
                format_name, data_start = (named.text, named.end) if named else ("", len(text))
            break
        token = next(stream, None)
    settings = text[settings_start:end] if settings_start is not None else ""
    gap = _DATA_GAP.match(text, data_start)
    data_start = gap.end() if gap else data_start
    inline = bool(text[data_start : data_start + 4096].strip(" \t\r\n;")) or len(text) - data_start > 4096  # noqa: PLR2004
    return Insert(text[target_start:target_end], columns, settings, format_name, data_start, inline)


def column_names(columns: str) -> list[str]:
    """The names in `(a, "b", n.c)`, without their quotes."""
    names, current = list[str](), ""
    for token in tokens(columns[1:-1]):
        if token.text == ",":
            names.append(current)
            current = ""
        else:
            current += _unquoted(token)
    return [*names, current] if current else names


def _unquoted(token: Token) -> str:
    if token.kind != "quoted":
        return token.text
    return re.sub(r"\\(.)|``|\"\"", lambda match: match[1] or match[0][0], token.text[1:-1])
