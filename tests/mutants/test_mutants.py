"""The mutation run itself: mistakes are made and noticed, and the list of survivors is true."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants.making import Mutant, mutant_at, places_in
from tests.mutants.survivors import Listed, as_entry, is_listed, listed

ROOT = Path(__file__).parents[2]
MONEY = "metering/money.py"

TRY = """
import sys
from pathlib import Path
from tests.mutants.making import Mutant
from tests.mutants.trying import Tests, Tries

tries = Tries(Path.cwd())
own = Tests(("tests/metering/test_money.py",), with_real_parts=True)
source = Path("metering/money.py").read_text()
for mistake, within_s in (("", 120), ("raise ZeroDivisionError\\n", 120), ("while True: pass\\n", 3)):
    print(tries.run(own, Mutant("metering/money.py", "", "", source + mistake), within_s))
"""


@pytest.mark.slow
def test_a_mistake_is_noticed_where_a_test_fails_or_does_not_end_and_nothing_is_written() -> None:
    before = (ROOT / MONEY).read_bytes()
    done = subprocess.run([sys.executable, "-c", TRY], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["survived", "killed", "timeout"]
    assert (ROOT / MONEY).read_bytes() == before


def mutants_of(path: str, root: Path) -> list[Mutant]:
    made = (mutant_at(place, root) for place in places_in(path, root))
    return [mutant for mutant in made if mutant is not None]


def test_mistakes_are_made_one_at_a_time_and_never_in_what_only_type_checkers_read(tmp_path: Path) -> None:
    head = "def least(a: int | None, b: int) -> int | None:"
    (tmp_path / "small.py").write_text(f"{head}\n    return a if a < b + 1 else None\n")
    changed = {(mutant.before, mutant.after) for mutant in mutants_of("small.py", tmp_path)}
    assert changed == {
        ("return a if a < b + 1 else None", f"return a if {condition} else None")
        for condition in ("a <= b + 1", "a >= b + 1", "a < b - 1", "a < b + 2", "a < b + 0", "not a < b + 1")
    }


def test_a_decorator_that_is_taken_away_is_named(tmp_path: Path) -> None:
    decorated = "@cache\ndef one():\n    return True\n"
    (tmp_path / "small.py").write_text(f"from functools import cache\n\n\n{decorated}")
    changed = {(mutant.before, mutant.after) for mutant in mutants_of("small.py", tmp_path)}
    assert changed == {("@cache", ""), ("return True", "return False")}


def test_code_of_every_kind_can_be_mutated() -> None:
    made = mutants_of("streams/batch_step.py", ROOT)
    assert len(made) > 10
    assert all(mutant.before != mutant.after for mutant in made)
    assert len({mutant.source for mutant in made}) == len(made)


def test_each_survivor_on_the_list_is_of_the_code_as_it_is_and_has_a_reason() -> None:
    for one in listed():
        lines = [line.strip() for line in (ROOT / one.path).read_text().splitlines()]
        assert one.before in lines, one
        assert one.before != one.after
        assert one.why


def test_a_survivor_is_listed_by_the_line_that_it_changes() -> None:
    mutant = Mutant(MONEY, 'before "it"', "after", "source")
    assert 'before = "before \\"it\\""' in as_entry(mutant)
    assert is_listed(mutant, [Listed(MONEY, 'before "it"', "after", "It is the same.")])
    assert not is_listed(mutant, [Listed(MONEY, 'before "it"', "another", "It is the same.")])
