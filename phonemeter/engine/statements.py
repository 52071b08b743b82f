"""Statements as the engine's own parser reads them: kind, names, format, start of INSERT data.

Only `parseQueryToJSON`, `highlightQuery` (the keywords and their positions) and `EXPLAIN AST` parse text;
statements that are run in another form are written by `formatQueryFromJSON`.
"""

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from phonemeter.engine.errors import ACCESS_DENIED, BAD_ARGUMENTS, SYNTAX, EngineError

Tree = dict[str, Any]
RunQuery = Callable[[str], list[list[Any]]]
"""Runs a query in the engine and returns its rows."""

HEAD_CHARACTERS: Final = 1 << 16
"""Length within which the data of a long INSERT usually starts."""
KNOWN_STATEMENTS: Final = 512
KNOWN_CHARACTERS: Final = 1 << 14
"""The longest statement that is cached."""

_DATA_GAP: Final = re.compile(r"[ \t\f]*\r?\n?")
_NOT_UTF_8: Final = re.compile("[\\udc80-\\udcff]")
_NOTHING: Final = re.compile(r"[\s;]*")
_OWN_QUERY: Final = re.compile(r":? In scope SELECT (?:parseQueryToJSON|highlightQuery)\(.*", re.DOTALL)
_NODE: Final = re.compile(r" *Function (?P<name>.+?)(?: \(alias .*\))?(?: \(children \d+\))?")
_PATH: Final = "/path/of/the/data"
_OUTPUT_FLAGS: Final = {"is_outfile_append", "is_outfile_truncate", "is_into_outfile_with_stdout"}
_OUTPUT: Final = ("format_ast", "out_file", "compression", "compression_level")


@dataclass(frozen=True, slots=True)
class Insert:
    """An INSERT with data, in the statement or after it, and the same INSERT from a file."""

    format: str
    data_start: int
    inline: bool
    as_select: str
    """A SELECT of the columns that it fills, in the same order."""
    own: str
    native: str

    def from_file(self, path: str, input_format: str) -> str:
        """The same INSERT from a file in its own format or in Native."""
        return (self.own if input_format == self.format else self.native).replace(_PATH, path)


@dataclass(frozen=True, slots=True)
class Statement:
    """The properties of one statement."""

    head: str
    """All of it except the data of an INSERT."""
    text: str
    """Without FORMAT, INTO OUTFILE and `;`."""
    kind: str
    """The type of its node in the engine's syntax tree."""
    names: frozenset[str]
    """Names that may reach files or servers, each after its sort: `function`, `engine`, `setting`, ..."""
    format: str = ""
    into_outfile: bool = False
    with_totals: bool = False
    insert: Insert | None = None
    kills: str = ""
    """The id of the query that it kills."""

    @property
    def streams(self) -> bool:
        """True if the engine can stream the result: only that of a SELECT."""
        return self.kind == "SelectWithUnionQuery"

    @property
    def repeatable(self) -> bool:
        """True if it may be run twice."""
        return self.kind.startswith(("Show", "SHOW", "Describe", "Exists", "Explain"))


class StatementReader:
    """A parser of statements with a cache. For any thread."""

    def __init__(self, run_query: RunQuery) -> None:
        self._run_query = run_query
        self._cache: OrderedDict[str, Statement] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, text: str) -> Statement:
        """Parse one statement; raises EngineError if the engine cannot."""
        with self._lock:
            statement = self._cache.get(text)
            if statement is not None:
                self._cache.move_to_end(text)
                return statement
        statement = self._read(text)
        if len(text) <= KNOWN_CHARACTERS:
            with self._lock:
                self._cache[text] = statement
                if len(self._cache) > KNOWN_STATEMENTS:
                    self._cache.popitem(last=False)
        return statement

    def _read(self, text: str) -> Statement:
        if not text.strip():
            raise EngineError(SYNTAX, "The query is empty.")
        if len(text) > HEAD_CHARACTERS or _NOT_UTF_8.search(text):
            insert = self._with_data(text, _NOT_UTF_8.sub("?", text[:HEAD_CHARACTERS]))
            if insert is not None:
                return insert
        try:
            tree = self._tree(text)
        except EngineError as error:
            if error.code != BAD_ARGUMENTS:
                raise
            return self._with_data(text, text) or self._of_nodes(text)
        if _awaits_data(tree):
            return self._insert(text, text, tree)
        return self._of_tree(text, tree)

    def _tree(self, text: str) -> Tree:
        try:
            ((found,),) = self._run_query(f"SELECT parseQueryToJSON({quoted(text)})")
        except EngineError as error:
            sentence = " ".join(_OWN_QUERY.sub("", error.sentence).split())
            raise EngineError(error.code, sentence, error.name) from error
        tree: Tree = json.loads(found)
        return tree

    def _ranges(self, text: str) -> list[tuple[str, int, int]]:
        """The keywords (upper case) and the kinds of other words, each with its position in bytes."""
        highlighted = f"arrayMap(r -> (r.1, r.2, toString(r.3)), highlightQuery({quoted(text)}))"
        ((found,),) = self._run_query(f"SELECT {highlighted}")
        raw = encoded(text)
        return [
            (decoded(raw[begin:end]).upper() if kind == "keyword" else kind, begin, end)
            for begin, end, kind in found
        ]

    def _with_data(self, text: str, beginning: str) -> Statement | None:
        """An INSERT with its data, if it is one; the data starts after VALUES or the name of a format."""
        ranges = self._ranges(beginning)
        raw = encoded(beginning)
        for (word, _, end), following in zip(ranges, [*ranges[1:], ("", 0, 0)], strict=True):
            if word not in {"VALUES", "FORMAT"}:
                continue
            head = decoded(raw[: end if word == "VALUES" else following[2]])
            try:
                tree = self._tree(head)
            except EngineError:
                continue
            if _awaits_data(tree) and text.startswith(head):
                whole = len(head) < len(beginning) or len(beginning) == len(text)
                return self._insert(text, head, tree) if whole else None
            if tree["type"] == "InsertQuery" and "infile" not in tree:
                return Statement(text, text, "InsertQuery", frozenset(_names(tree)))
        return None

    def _insert(self, text: str, head: str, tree: Tree) -> Statement:
        gap = _DATA_GAP.match(text, len(head))
        start = gap.end() if gap else len(head)
        path = {"type": "Literal", "value": {"field_type": "String", "value": _PATH}}
        plain = {"type": "Literal", "value": {"field_type": "String", "value": "none"}}
        from_path = {**tree, "infile": path, "compression": plain}
        own, native, as_select = self._written(from_path, {**from_path, "format": "Native"}, _select_of(tree))
        insert = Insert(
            format=tree["format"],
            data_start=start,
            inline=_NOTHING.fullmatch(text, start) is None,
            as_select=as_select,
            own=own,
            native=native,
        )
        return Statement(text[:start], head, "InsertQuery", frozenset(_names(tree)), insert=insert)

    def _written(self, *trees: Tree) -> list[str]:
        """The statements for these trees."""
        asked = (f"formatQueryFromJSON({quoted(json.dumps(tree))})" for tree in trees)
        (texts,) = self._run_query("SELECT " + ", ".join(asked))
        return texts

    def _of_tree(self, text: str, tree: Tree) -> Statement:
        written = ";" in text or any(name in tree for name in _OUTPUT)
        bare = self._without_output(tree) if written else text
        selects = tree.get("list_of_selects", {}).get("children", [])
        return Statement(
            head=text,
            text=bare,
            kind=tree["type"],
            names=frozenset(_names(tree)),
            format=tree.get("format_ast", {}).get("name", ""),
            into_outfile="out_file" in tree,
            with_totals=any(select.get("group_by_with_totals") for select in selects),
            kills=_killed(tree),
        )

    def _without_output(self, tree: Tree) -> str:
        kept = {name: part for name, part in tree.items() if name not in _OUTPUT}
        kept.update(dict.fromkeys(_OUTPUT_FLAGS & kept.keys(), False))
        selects = kept.get("list_of_selects", {}).get("children", [])
        if "settings_ast" not in kept or not selects or any("settings" in select for select in selects):
            return self._written(kept)[0]
        # Otherwise they would be written after brackets, and nothing could follow them.
        settings = {**kept.pop("settings_ast"), "is_standalone": True}
        bare, setting = self._written(kept, settings)
        return f"{bare}\nSETTINGS {setting.removeprefix('SET ')}"

    def _of_nodes(self, text: str) -> Statement:
        """A statement whose tree the engine cannot return as JSON."""
        ((bare,),) = self._run_query(f"SELECT formatQuerySingleLine({quoted(text)})")
        ranges = self._ranges(bare)
        if any(word == "INTO OUTFILE" for word, _, _ in ranges):
            raise EngineError(ACCESS_DENIED, "INTO OUTFILE is not served here for this kind of statement.")
        output_format, raw = "", encoded(bare)
        for (word, begin, _), (named, start, end) in zip(ranges[-2::-1], ranges[:0:-1], strict=True):
            if word == "FORMAT" and named == "identifier":
                output_format, bare = decoded(raw[start:end]), decoded(raw[:begin] + raw[end:])
                break
        ((first,), *rest) = self._run_query(f"EXPLAIN AST {bare}")
        found = (_NODE.fullmatch(line) for (line,) in rest)
        names = frozenset(f"function {node['name'].lower()}" for node in found if node)
        kind = re.split("[ _]", first, maxsplit=1)[0]
        return Statement(text, bare, kind, names, format=output_format)


def quoted(value: str) -> str:
    """A SQL string."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'").replace("\0", "\\0") + "'"


def encoded(sql: str) -> bytes:
    """A statement in bytes for the engine, which need not be UTF-8."""
    return sql.encode("utf-8", "surrogateescape")


def decoded(written: bytes) -> str:
    """The text of bytes from the engine, which need not be UTF-8."""
    return written.decode("utf-8", "surrogateescape")


def _awaits_data(tree: Tree) -> bool:
    return tree["type"] == "InsertQuery" and not tree.keys() & {"select", "infile", "table_function"}


def _select_of(insert: Tree) -> Tree:
    """SELECT the columns FROM the table of an INSERT."""
    parts = [insert[part]["name"] for part in ("database", "table") if part in insert]
    table = {"type": "TableIdentifier", "name": ".".join(parts), "name_parts": parts}
    element = {
        "type": "TablesInSelectQueryElement",
        "table_expression": {"type": "TableExpression", "database_and_table_name": table},
    }
    columns = insert.get("columns", {"type": "ExpressionList", "children": [{"type": "Asterisk"}]})
    select = {"type": "SelectQuery", "select": columns}
    select["tables"] = {"type": "TablesInSelectQuery", "children": [element]}
    selects = {"type": "ExpressionList", "children": [select]}
    return {"type": "SelectWithUnionQuery", "union_mode": "UNION_DEFAULT", "list_of_selects": selects}


def _nodes(tree: object) -> Iterator[Mapping[str, Any]]:
    """All objects in a tree; its nodes are among them."""
    waiting = [tree]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield part
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)


def _names(tree: Tree) -> Iterator[str]:
    for node in _nodes(tree):
        match node:
            case {"type": "Function", "kind": "TABLE_ENGINE" | "DATABASE_ENGINE", "name": name}:
                yield f"engine {name.lower()}"
            case {"type": "Function", "name": name}:
                yield f"function {name.lower()}"
            case {"type": "Dictionary", "source": {"name": name} as source}:
                yield f"source {name.lower()}"
                if any(part.get("first") in {"host", "port"} for part in _nodes(source)):
                    yield "source elsewhere"
            case {"type": "SetQuery", "changes": changes}:
                yield from (f"setting {change['name']}" for change in changes)
        yield from (called for called, marks in _MARKS.items() if marks(node, tree))


_MARKS: Final[dict[str, Callable[[Mapping[str, Any], Tree], bool]]] = {
    "path": lambda node, _: bool(node.get("has_attach_from_path")),
    "infile": lambda node, _: "infile" in node,
    "outfile": lambda node, tree: "out_file" in node and node is not tree,
    "insert function": lambda node, _: node.get("type") == "InsertQuery" and "table_function" in node,
}


def _killed(tree: Tree) -> str:
    match tree:
        case {
            "type": "KillQueryQuery",
            "where_expression": {
                "name": "equals",
                "arguments": {
                    "children": [
                        {"type": "Identifier", "name": "query_id"},
                        {"type": "Literal", "value": {"value": str(query_id)}},
                    ]
                },
            },
        }:
            return query_id
    return ""
