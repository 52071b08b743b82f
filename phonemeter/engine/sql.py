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


_END: Final = Token("end", "", 1 << 62, 1 << 62, 0)


@dataclass(frozen=True, slots=True)
class Insert:
    """An INSERT that carries data: everything needed to run it from a file instead."""

    target: str
    columns: str
    settings: str
    format: str
    data_start: int
    inline: bool

    @property
    def as_select(self) -> str:
        """A SELECT of the columns that it fills, in its order."""
        return f"SELECT {self.columns[1:-1] or '*'} FROM {self.target}"  # noqa: S608 - the client's own words

    def from_file(self, path: str, input_format: str) -> str:
        """The same INSERT, reading `path`."""
        source = f"FROM INFILE '{path}' COMPRESSION 'none' {self.settings} FORMAT {input_format}"
        return f"INSERT INTO {self.target} {self.columns} {source}"


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement as the server needs to know it."""

    head: str
    """All of it but the data of an INSERT."""
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
        head=read,
        text=_without_output_clauses(text, found) if insert is None else read,
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


class _Reader:
    """The tokens of an INSERT, one after another, up to where its data begins."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = tokens(text)
        self.token = next(self._tokens, _END)

    def next(self) -> None:
        self.token = next(self._tokens, _END)

    def skip(self, *words: str) -> None:
        for word in words:
            if self.token.word == word:
                self.next()

    def name(self) -> str:
        """`table` or `database.table`, as written."""
        start, end = self.token.start, self.token.end
        self.next()
        while self.token.text == ".":
            self.next()
            end = self.token.end
            self.next()
        return self._text[start:end]

    def brackets(self) -> str:
        """A column list with its brackets, if there is one here and it isn't a subquery."""
        start = self.token
        if start.text != "(":
            return ""
        self.next()
        if self.token.word in _NO_DATA or self.token.text == "(":
            return ""
        while self.token is not _END and not (self.token.text == ")" and self.token.depth == start.depth):
            self.next()
        end = self.token.end
        self.next()
        return self._text[start.start : end]


def _parse_insert(text: str) -> Insert | None:
    """Split an INSERT that carries or awaits data; None for INSERT ... SELECT and whatever else has none."""
    reader = _Reader(text)
    reader.skip("INSERT", "INTO", "TABLE")
    if reader.token.word == "FUNCTION" or reader.token.kind not in {"word", "quoted"}:
        return None
    target, columns = reader.name(), reader.brackets()
    settings_start = data_start = len(text)
    input_format = ""
    while reader.token is not _END and not input_format:
        token = reader.token
        if token.word in _NO_DATA or (token.depth == 0 and token.text == "("):
            return None
        if token.word == "SETTINGS":
            settings_start = token.start
        elif token.word in {"VALUES", "FORMAT"}:
            reader.skip("FORMAT")
            input_format = "Values" if token.word == "VALUES" else reader.token.text
            data_start = min(reader.token.end, len(text))
        reader.next()
    settings = text[settings_start : token.start] if input_format else text[settings_start:]
    gap = _DATA_GAP.match(text, data_start)
    data_start = gap.end() if gap else data_start
    inline = re.compile(r"[\s;]*").fullmatch(text, data_start) is None
    return Insert(target, columns, settings, input_format, data_start, inline)
