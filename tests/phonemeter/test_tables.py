"""Tables on terminals and in pipes."""

from io import StringIO

from rich.cells import cell_len

from phonemeter.tables import print_table
from phonemeter.terminal import Table, Terminal

HASH = "9f2c" * 16


def table_of(*rows: tuple[str, ...]) -> Table:
    table = Table("alert", "wh-\nat", "left", box=None)
    for row in rows:
        table.add_row(*row)
    return table


def printed(table: Table, *, on_a_terminal: bool, width: int = 80) -> list[str]:
    told = StringIO()
    terminal = Terminal(file=told, width=width, force_terminal=on_a_terminal, no_color=True)
    print_table(terminal, table)
    return told.getvalue().replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines()


def test_in_a_pipe_a_wide_table_is_not_cut_off() -> None:
    rows = [("2-417-0", "x" * 90, "1"), ("2-418-0", "y" * 900, "2"), ("2-419-0", "z", "3")]
    lines = printed(table_of(*rows), on_a_terminal=False)
    assert [tuple(line.split()) for line in lines[2:]] == rows
    assert all(line == line.rstrip() for line in lines)


def test_on_a_terminal_that_is_wide_enough_it_is_a_table() -> None:
    assert printed(table_of(("2-417-0", "x", "1")), on_a_terminal=True)[-1].split() == ["2-417-0", "x", "1"]


def test_on_a_narrow_terminal_each_row_has_lines_of_its_own_and_ids_stay_whole() -> None:
    lines = printed(table_of(("2-417-0", HASH, "1,234"), ("2-418-0", "", "5")), on_a_terminal=True)
    assert lines == ["alert 2-417-0", f"  what {HASH}", "  left 1,234", "alert 2-418-0", "  left 5"]


def test_on_a_narrow_terminal_nothing_is_wider_than_it_and_nothing_is_lost() -> None:
    name = "静安寺店" * 30
    lines = printed(table_of(("2-417-0", name, "1"), ("2-418-0", "word " * 40, "2")), on_a_terminal=True)
    assert all(cell_len(line) <= 80 for line in lines)
    assert name in "".join(line.strip() for line in lines)
    assert "".join(lines).count("word") == 40


def test_on_a_terminal_the_titles_of_a_table_are_still_bold() -> None:
    told = StringIO()
    terminal = Terminal(file=told, width=80, force_terminal=True, color_system="standard", no_color=False)
    print_table(terminal, table_of(("2-417-0", "x", "1")))
    assert "\x1b[1m" in told.getvalue()
