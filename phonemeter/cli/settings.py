"""`phonemeter settings`: every setting, where it comes from and what it means."""

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from phonemeter.settings import Settings, load


def settings(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, secrets left out.")] = False,
) -> None:
    """Show every setting: its key in phonemeter.toml, its value now, what it means.

    The environment variable of a setting is PHONEMETER_ and its key in capitals; it comes before the file.
    """
    now = load()
    values = {
        name: "(not shown)" if _secret(name) else value for name, value in now.model_dump(mode="json").items()
    }
    if as_json:
        typer.echo(json.dumps(values))
        return
    table = Table("setting", "value", "meaning", highlight=False)
    for name, value in values.items():
        changed = getattr(now, name) != Settings.model_fields[name].get_default(call_default_factory=True)
        table.add_row(name, f"[bold]{value}[/bold]" if changed else str(value), _meaning(name))
    Console().print(table)


def _secret(name: str) -> bool:
    hints = Settings.model_fields[name].json_schema_extra
    return isinstance(hints, dict) and bool(hints.get("secret"))


def _meaning(name: str) -> str:
    return Settings.model_fields[name].description or ""
