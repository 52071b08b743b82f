"""What commands print alike."""

from io import StringIO

from rich.console import Console
from rich.table import Table

from phonemeter.cli.telling import print_whole


def test_a_table_wider_than_the_terminal_is_not_cut_off() -> None:
    told = StringIO()
    table = Table("alert", "what", box=None)
    table.add_row("2-417-0", "x" * 90)
    table.add_row("2-418-0", "y" * 900)
    table.add_row("2-419-0", "z")
    print_whole(Console(file=told, width=80), table)
    assert [line.split() for line in told.getvalue().splitlines()[1:]] == [
        ["2-417-0", "x" * 90],
        ["2-418-0", "y" * 900],
        ["2-419-0", "z"],
    ]


def test_a_line_of_a_table_ends_with_what_it_says() -> None:
    told = StringIO()
    table = Table("alert", "what", box=None)
    table.add_row("2-417-0", "x" * 90)
    table.add_row("2-418-0", "y")
    print_whole(Console(file=told, width=80), table)
    assert all(line == line.rstrip() for line in told.getvalue().splitlines())


def test_on_a_terminal_the_titles_of_a_table_are_still_bold() -> None:
    told = StringIO()
    table = Table("alert", box=None)
    table.add_row("2-417-0")
    terminal = Console(file=told, width=80, force_terminal=True, color_system="standard", no_color=False)
    print_whole(terminal, table)
    assert "\x1b[1m" in told.getvalue()
