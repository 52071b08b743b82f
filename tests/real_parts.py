"""The marker `stack` and the guard behind it: tests without it start no broker, engine, Prometheus or Node.

The marker is put by the fixtures that start such a part, see `starts_real_parts`. A test that starts one by
itself carries `pytest.mark.stack`; without it the guard makes it fail.
"""

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import PurePath
from typing import Any, Final, TypeVar
from unittest.mock import patch

import pytest

Function = TypeVar("Function")

MARKER: Final = "stack"
ATTRIBUTE: Final = "starts_real_parts"
PROGRAMS: Final = {
    "java",
    "node",
    "prometheus",
    "prometheus-alertmanager",
    "alertmanager",
    "promtool",
    "amtool",
    "initdb",
    "postgres",
}
MODULES: Final = {
    "phonemeter.engine",
    "streams.app",
    "tests.dashboards.as_account",
    "tests.phonemeter.engine.unguarded",
    "tests.producers.gateway.run_gateway",
    "tests.sinks.cluster_engine",
    "tests.producers.wechat.run_wechat",
    "tests.sinks.notifier.run_notifier",
    "tests.sinks.run_sink",
    "tests.sinks.settler.run_settler",
    "tests.streams.skipping_app",
}
COMMANDS: Final = {
    "console",
    "demo",
    "engine",
    "gateway",
    "notifier",
    "settler",
    "sink",
    "up",
    "wechat",
    "wechat-sim",
    "worker",
}
"""Commands of phonemeter that run the stack or a part of it."""

_start = subprocess.Popen.__init__


def starts_real_parts(fixture_function: Function) -> Function:
    """Decorate the function of a fixture: each test that uses it, directly or not, gets the marker."""
    setattr(fixture_function, ATTRIBUTE, True)
    return fixture_function


def mark(items: Sequence[pytest.Item]) -> None:
    """Mark the tests whose fixtures start real parts."""
    for item in items:
        if any(hasattr(fixture.func, ATTRIBUTE) for fixture in _fixtures(item).values()):
            item.add_marker(MARKER)


def is_for_the_session(item: pytest.Item, name: str) -> bool:
    """Return whether a test uses a fixture of that name that is there for the whole session."""
    fixture = _fixtures(item).get(name)
    return fixture is not None and fixture.scope == "session"


def _fixtures(item: pytest.Item) -> Mapping[str, pytest.FixtureDef[Any]]:
    """The fixtures that a test uses, directly or not, by name."""
    fixtures = getattr(item, "_fixtureinfo", None)
    used = fixtures.name2fixturedefs if fixtures is not None else {}
    # The last definition of a name is the one that applies.
    return {name: definitions[-1] for name, definitions in used.items()}


@contextmanager
def none_may_start() -> Iterator[None]:
    """Within, the start of a real part is refused."""
    with patch.object(subprocess.Popen, "__init__", _guarded):
        yield


def real_part_of(command: object) -> str | None:
    """The word of a command line that starts a real part."""
    words = [os.fsdecode(word) for word in _words(command)]
    for place, word in enumerate(words):
        # An interpreter may be hidden in a wrapper, so any word counts.
        if PurePath(word).name in PROGRAMS or word in MODULES:
            return word
        if word in COMMANDS and place and PurePath(words[place - 1]).name in {"phonemeter", "phonemeter.cli"}:
            return word
    return None


def _words(command: object) -> Sequence[Any]:
    return command if isinstance(command, (list, tuple)) else [command]


def _guarded(self: "subprocess.Popen[Any]", args: object, *others: Any, **options: Any) -> None:  # noqa: ANN401 - Popen's own
    part = real_part_of(args)
    if part is not None:
        # For `Popen.__del__`, as nothing was started.
        self._child_created = False  # type: ignore[attr-defined]
        pytest.fail(f"a test without the marker `{MARKER}` starts {part}; see tests/real_parts.py")
    _start(self, args, *others, **options)  # type: ignore[call-overload]
