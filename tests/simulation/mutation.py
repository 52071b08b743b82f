"""A planted bug: the code that replaces a guard of the product, and how to search for it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch


@dataclass(frozen=True)
class Mutation:
    """A bug: a sentence that names it, and the code that replaces the target."""

    name: str
    target: str
    code: Callable[..., Any]
    faults: tuple[str, ...] = ()
    """The only faults in the search for it, if not all: some guards matter only in one fault."""

    @contextmanager
    def planted(self) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(patch(self.target, self.code))
            yield

    @contextmanager
    def search(self) -> Iterator[None]:
        """Limit the search to what reveals it."""
        with ExitStack() as stack:
            if self.faults:
                stack.enter_context(patch("tests.simulation.world.FAULT_NAMES", self.faults))
            yield
