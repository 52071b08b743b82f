"""Mutants of a module: each its source with one mistake."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from cosmic_ray import plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code

CHOSEN: Final = re.compile(
    r"core/(AddNot|Replace(True|False|And|Or|Break|Continue)\w+|NumberReplacer|ExceptionReplacer|RemoveDecorator"
    r"|ZeroIterationForLoop"
    r"|ReplaceUnaryOperator_(Delete_Not|USub_UAdd)"
    r"|ReplaceBinaryOperator_(Add_Sub|Sub_Add|Mul_FloorDiv|Div_Mul|FloorDiv_Mul|Mod_FloorDiv|Pow_Mul"
    r"|LShift_RShift|RShift_LShift|BitAnd_BitOr|BitOr_BitAnd|BitXor_BitAnd)"
    r"|ReplaceComparisonOperator_(Eq_NotEq|NotEq_Eq|Is_IsNot|IsNot_Is"
    r"|Lt_LtE|Lt_GtE|LtE_Lt|LtE_Gt|Gt_GtE|Gt_LtE|GtE_Gt|GtE_Lt))"
)
"""Of cosmic-ray's operators those that are not noticed wherever a sibling of theirs is."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A mistake in a module: the line before and after it, without indentation, and the whole source with it.

    A line that goes is empty after it.
    """

    path: str
    before: str
    after: str
    source: str


class Place(NamedTuple):
    """A place where one of cosmic-ray's operators can make a mutant."""

    path: str
    operator: str
    occurrence: int


def places_in(path: str, root: Path) -> Iterator[Place]:
    """All places of a module, in an order that stays."""
    nodes = list(ast_nodes(get_ast((root / path).read_text())))
    for name in sorted(filter(CHOSEN.fullmatch, plugins.operator_names())):
        operator = plugins.get_operator(name)()
        count = sum(1 for node in nodes for _ in operator.mutation_positions(node))
        yield from (Place(path, name, occurrence) for occurrence in range(count))


def mutant_at(place: Place, root: Path) -> Mutant | None:
    """The mistake that is made there; None if it is none."""
    source = (root / place.path).read_text()
    operator = plugins.get_operator(place.operator)()
    try:
        mutated: str | None = mutate_code(source, operator, place.occurrence)
    except AttributeError:
        # cosmic-ray 8.7 cannot replace the name of an exception with a dot in it.
        return None
    if mutated is None or mutated == source:
        return None
    # What unites types is no mistake to make: annotations are for the type checker.
    if "_BitOr_" in place.operator and _without_annotations(mutated) == _without_annotations(source):
        return None
    before, after = _change(source, mutated)
    return Mutant(place.path, before, after, mutated)


def _change(source: str, mutated: str) -> tuple[str, str]:
    """The line that is another one, before and after; nothing after it if it is gone."""
    lines, others = source.splitlines(), mutated.splitlines()
    at = next(number for number, line in enumerate(lines) if number == len(others) or line != others[number])
    if len(others) == len(lines):
        return lines[at].strip(), others[at].strip()
    # The blank lines before it are gone as well.
    return next(line.strip() for line in lines[at:] if line.strip()), ""


def _without_annotations(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
    return ast.dump(tree)
