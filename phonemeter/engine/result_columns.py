"""The columns of a result with the time zones that FORMAT Native leaves out.

In it a column of type `DateTime('zone')` is called `DateTime`, for the oldest clients, and clients use the
server's zone. A zone inside another type (Nullable, Array, ...) and that of DateTime64 are kept. DESCRIBE
returns the zone.
"""

import json
import re
from collections.abc import Callable, Sequence
from typing import Final

from phonemeter.engine.blocks import PLAIN, copy_block
from phonemeter.engine.errors import EngineError
from phonemeter.engine.wire_values import cursor_over, text

Columns = list[tuple[str, str]]
_ZONED: Final = "DateTime("
_WITHOUT_ZONE: Final = "DateTime"
_QUOTED_OR_BREAK: Final = re.compile(r"""('(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`)|(,?)\n *""", re.DOTALL)
_STATE_VERSION: Final = re.compile(r"\bAggregateFunction\(\d+, ")


def describe_columns(run: Callable[[str, str], bytes], select: str) -> Columns:
    """Describe the columns of a SELECT without `;`, if possible without running any part of it.

    `run` runs a statement and returns its output in a format.

    Raises:
        EngineError: the engine cannot describe it.
    """
    try:
        # Unlike that of a subquery, DESCRIBE of a view does not run scalar subqueries.
        answer = run(f"DESCRIBE view(\n{select}\n)", "JSONCompact")
    except EngineError:
        # A view cannot have two columns of one name, nor brackets around its SELECT.
        answer = run(f"DESCRIBE (\n{select}\n)", "JSONCompact")
    return [(row[0], wire_name(row[1])) for row in json.loads(answer)["data"]]


def wire_name(type_name: str) -> str:
    """The name of a type in blocks: on one line, and without the version of aggregate function states."""
    line = _QUOTED_OR_BREAK.sub(lambda found: found[1] or (", " if found[2] else ""), type_name)
    return _STATE_VERSION.sub("AggregateFunction(", line)


def with_zones(block: bytes, columns: Sequence[tuple[str, str]]) -> bytes:
    """A block in FORMAT Native with the zones of `columns` put back."""
    for name, type_name in columns:
        if not type_name.startswith(_ZONED):
            continue
        header = text(name) + text(_WITHOUT_ZONE)
        at = block.find(header)
        if at < 0 or at != block.rfind(header):
            # Not found, or ambiguous because a value looks the same: walk over the columns.
            return _walked(block, columns)
        block = b"".join((block[:at], text(name), text(type_name), block[at + len(header) :]))
    return block


def _walked(block: bytes, columns: Sequence[tuple[str, str]]) -> bytes:
    parts = list[bytes]()
    copy_block(cursor_over(block), parts.append, PLAIN, PLAIN, [type_name for _, type_name in columns])
    return b"".join(parts)
