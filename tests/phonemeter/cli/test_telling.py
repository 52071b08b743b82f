"""What commands print alike."""

from io import StringIO

from rich.console import Console
from rich.table import Table

from phonemeter.cli.telling import print_whole


def test_a_table_wider_than_the_terminal_is_not_cut_off() -> None:
    told = StringIO()
    table = Table("alert", "what", box=None)
    table.add_row("2-417-0", "x" * 90)
    print_whole(Console(file=told, width=80), table)
    assert "…" not in told.getvalue()
    assert f"2-417-0 {'x' * 90}" in told.getvalue().replace("  ", " ")
