"""Trying a mutant: the tests of its module and those of its folder, in a process of its own.

A process that has the libraries loaded, and nothing of ours, is forked for each mutant; there the module has
the mutant's source. So nothing is written, and a start costs a fraction of a second.
"""

import importlib
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.abc import ExecutionLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Final, Literal, NamedTuple

import pytest

from tests.mutants.making import Mutant
from tests.product import PACKAGES

LIBRARIES: Final = (
    "aiohttp", "aiokafka", "apprise", "clickhouse_driver", "confluent_kafka", "faust", "hypothesis",
    "immutables", "kafka", "msgspec", "numpy", "prometheus_client", "pydantic_settings", "standardwebhooks",
    "tenacity", "typer", "xxhash",
)  # fmt: skip

BESIDES: Final = {"streams": ("tests/simulation",), "sinks": ("tests/simulation",)}
"""Tests that tell what is wrong in a folder, beyond its own."""

SLACK_S: Final = 10.0
SLOWER: Final = 4.0
"""Tests that take so much longer than usual, and the slack, do not end."""

LOOK_S: Final = 0.02
NO_TESTS: Final = 5
"""pytest's exit status."""

Fate = Literal["killed", "timeout", "survived"]


class Tests(NamedTuple):
    """Files or folders of tests, and whether those among them are run that need broker or engine."""

    paths: tuple[str, ...]
    with_real_parts: bool


def tests_of(path: str, root: Path) -> Iterator[Tests]:
    """The tests of a module: first those named after it, then those of its folder."""
    module = Path(path)
    folder = Path("tests", *module.parts[:-1])
    own = folder / f"test_{module.name}"
    if (root / own).is_file():
        yield Tests((str(own),), with_real_parts=True)
    while not (root / folder).is_dir():
        folder = folder.parent
    yield Tests((str(folder), *BESIDES.get(module.parts[0], ())), with_real_parts=False)


class Tries:
    """Runs tests with a module as it is, or as a mutant has it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._usual_s: dict[Tests, float] = {}
        os.chdir(root)
        for library in LIBRARIES:
            importlib.import_module(library)
        if loaded := sorted(name for name in sys.modules if name.partition(".")[0] in PACKAGES):
            raise RuntimeError(f"{loaded[0]} is loaded already and could not be mutated")

    def fate_of(self, mutant: Mutant) -> Fate:
        """The fate of a mutant: whether some test fails."""
        fates = (
            self.run(tests, mutant, SLACK_S + SLOWER * self._usual(tests))
            for tests in tests_of(mutant.path, self._root)
        )
        return next((fate for fate in fates if fate != "survived"), "survived")

    def run(self, tests: Tests, mutant: Mutant | None, within_s: float) -> Fate:
        """Run some tests."""
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                status = _in_child(tests, mutant)
            finally:
                os._exit(status)
        ended = _awaited(pid, within_s)
        if ended == NO_TESTS:
            raise RuntimeError(f"there are no tests in {tests.paths}")
        return "timeout" if ended is None else "killed" if ended else "survived"

    def _usual(self, tests: Tests) -> float:
        """Seconds that these tests take without a mutant.

        Raises:
            RuntimeError: they fail.
        """
        if tests not in self._usual_s:
            began_s = time.monotonic()
            if (fate := self.run(tests, None, float("inf"))) != "survived":
                raise RuntimeError(f"{tests.paths} fails without any mutant ({fate})")
            self._usual_s[tests] = time.monotonic() - began_s
        return self._usual_s[tests]


class _Mutated(MetaPathFinder, ExecutionLoader):
    """Gives one module the mutant's source."""

    def __init__(self, mutant: Mutant, root: Path) -> None:
        self._file = root / mutant.path
        self._is_package = self._file.name == "__init__.py"
        parts = Path(mutant.path).with_suffix("").parts
        self._name = ".".join(parts[:-1] if self._is_package else parts)
        self._source = mutant.source

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Claim the one module."""
        del path, target
        if fullname != self._name:
            return None
        return spec_from_loader(fullname, self, origin=str(self._file), is_package=self._is_package)

    def get_filename(self, fullname: str) -> str:
        """The path of the module."""
        del fullname
        return str(self._file)

    def get_source(self, fullname: str) -> str:
        """The mutated source of the module."""
        del fullname
        return self._source

    def is_package(self, fullname: str) -> bool:
        """Return true if the module is a package."""
        del fullname
        return self._is_package


class _WithoutRealParts:
    """A plugin of pytest that leaves out what needs broker or engine."""

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leave it out."""
        real: set[str] = importlib.import_module("tests.conftest").REAL_PARTS
        left_out = [
            item
            for item in items
            if real & set(getattr(item, "fixturenames", ())) or item.get_closest_marker("stack") is not None
        ]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def _in_child(tests: Tests, mutant: Mutant | None) -> int:
    # What it starts ends with it.
    os.setsid()
    silence = os.open(os.devnull, os.O_WRONLY)
    for output in (1, 2):
        os.dup2(silence, output)
    if mutant is not None:
        sys.meta_path.insert(0, _Mutated(mutant, Path.cwd()))
    sys.dont_write_bytecode = True
    # That libraries are loaded already is meant, and pytest warns of plugins among them.
    options = ["-x", "-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    plugins = [] if tests.with_real_parts else [_WithoutRealParts()]
    return int(pytest.main([*options, *tests.paths], plugins=plugins))


def _awaited(pid: int, within_s: float) -> int | None:
    """The exit status; None if it took too long."""
    deadline_s = time.monotonic() + within_s
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline_s:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return None
        time.sleep(LOOK_S)
