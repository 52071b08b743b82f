"""Questions that analysts ask, each as one query on the views: the source of docs/how-to/cookbook.md.

A file is comment lines first, of which the first is the question and the others say how to read the answer,
and then the query. After a change: python -m dashboards.cookbook
"""

from importlib import resources
from typing import Final, NamedTuple

NAMES: Final = (
    "burn_by_store",
    "cost_per_new_member",
    "packs_that_will_lapse",
    "trial_left",
    "hour_heat",
    "bots",
    "month_close",
    "another_pack_size",
    "uncovered_by_reason",
    "late_events",
    "duplicates_by_source",
    "refund_check",
    "concentration",
    "run_out",
    "reconciliation",
)
"""Every recipe, in the order of the page."""


class Recipe(NamedTuple):
    """One question, how its answer is to be read, and the query that gives it."""

    name: str
    question: str
    reading: str
    sql: str


def recipe(name: str) -> Recipe:
    """One recipe, by the name of its file."""
    lines = (resources.files(__name__) / f"{name}.sql").read_text(encoding="utf-8").splitlines()
    comments = [line.removeprefix("--").strip() for line in lines if line.startswith("--")]
    sql = "\n".join(line for line in lines if not line.startswith("--"))
    return Recipe(name, comments[0], "\n".join(comments[1:]), sql.strip())


def recipes() -> tuple[Recipe, ...]:
    """Every recipe, in the order of the page."""
    return tuple(recipe(name) for name in NAMES)
