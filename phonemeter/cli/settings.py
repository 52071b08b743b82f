"""`phonemeter settings`: every setting with its value and meaning."""

from typing import Annotated

import typer
from rich.text import Text

from metering.printable_text import one_line
from phonemeter.settings import Settings, hints_of, load
from phonemeter.tables import print_table
from phonemeter.terminal import Table, output, print_json


def settings(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, secrets left out.")] = False,
) -> None:
    """Show every setting: its key in phonemeter.toml, its value now, what it means.

    The environment variable of a setting is PHONEMETER_ and its key in capitals; it comes before the file.
    """
    now, fields = load(), Settings.model_fields
    values = {
        name: "(not shown)" if hints_of(fields[name]).get("secret") else value
        for name, value in now.model_dump(mode="json").items()
    }
    if as_json:
        print_json(values)
        return
    table = Table("setting", "value", "meaning")
    for name, value in values.items():
        changed = getattr(now, name) != fields[name].get_default(call_default_factory=True)
        shown = Text(one_line(str(value)), style="bold" if changed else "")
        table.add_row(name, shown, fields[name].description or "")
    print_table(output(), table)
