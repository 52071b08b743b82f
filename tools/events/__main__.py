"""Write docs/reference/events.schema.json, asyncapi.json and conformance.jsonl: `python -m tools.events`."""

import sys

from tools.events.files import REFERENCE, texts
from tools.events.lines import NoBaseError


def main() -> int:
    """Write the files; the exit status."""
    try:
        written = texts()
    except NoBaseError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for name, text in written.items():
        (REFERENCE / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
