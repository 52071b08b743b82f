"""Run as a program: ask the embedded engine, which has room for one account, as that of a configuration.

The argument is chDB's connection string; queries come as a JSON list on stdin. For each, a JSON list of its
rows goes to stdout, or the sentence of its refusal.
"""

import json
import sys
from typing import Any

import chdb


def answer(connection: Any, query: str) -> list[Any] | str:  # noqa: ANN401 - chDB ships no types
    """The rows of a query, or why there are none."""
    try:
        lines = str(connection.query(query, "JSONCompactEachRow")).splitlines()
    except RuntimeError as refusal:
        return str(refusal).splitlines()[0]
    return [json.loads(line) for line in lines if line]


def main() -> None:
    """Answer every query of stdin."""
    connection = chdb.connect(sys.argv[1])
    for query in json.load(sys.stdin):
        sys.stdout.write(f"{json.dumps(answer(connection, query))}\n")


if __name__ == "__main__":
    main()
