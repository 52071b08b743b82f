"""The marker of the tests that start real parts, and the guard that holds the others to it."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from tests.real_parts import MARKER, is_for_the_session, none_may_start, real_part_of, starts_real_parts


@pytest.fixture
@starts_real_parts
def part() -> str:
    return "a part"


@pytest.fixture
def on_the_part(part: str) -> str:
    return f"on {part}"


@pytest.mark.usefixtures("on_the_part")
def test_a_test_whose_fixtures_start_a_part_is_marked(request: pytest.FixtureRequest) -> None:
    assert request.node.get_closest_marker(MARKER)


@pytest.fixture(scope="session")
def shared() -> str:
    return "for the session"


@pytest.mark.usefixtures("shared", "part")
def test_a_fixture_of_the_session_is_told_from_one_of_a_test(request: pytest.FixtureRequest) -> None:
    assert is_for_the_session(request.node, "shared")
    assert not is_for_the_session(request.node, "part")
    assert not is_for_the_session(request.node, "on_the_part")


def test_another_test_is_not_marked_and_may_start_what_is_no_part(request: pytest.FixtureRequest) -> None:
    assert not request.node.get_closest_marker(MARKER)
    assert (
        subprocess.run([sys.executable, "-c", "print(7)"], capture_output=True, check=True).stdout == b"7\n"
    )


def test_another_test_fails_if_it_starts_a_part(tmp_path: Path) -> None:
    with pytest.raises(pytest.fail.Exception, match="without the marker `stack` starts java"):
        subprocess.Popen(["java", "-version"])
    with pytest.raises(pytest.fail.Exception, match=r"starts phonemeter\.engine"):
        subprocess.run([sys.executable, "-m", "phonemeter.engine", "--data", tmp_path], check=False)


async def test_another_test_fails_if_its_loop_starts_a_part() -> None:
    with none_may_start(), pytest.raises(pytest.fail.Exception, match="starts /usr/bin/prometheus"):
        await asyncio.create_subprocess_exec("/usr/bin/prometheus", "--version")


@pytest.mark.parametrize(
    ("command", "part"),
    [
        (
            ("sh", "-c", 'exec "$@"', "sh", "/opt/java-runtime/bin/java", "-Xmx384m"),
            "/opt/java-runtime/bin/java",
        ),
        ((sys.executable, "-m", "phonemeter", "demo", "--exit"), "demo"),
        ((sys.executable, "-m", "phonemeter", "engine"), "engine"),
        (("python", "-m", "faust", "-A", "streams.app", "worker"), "streams.app"),
        ((sys.executable, "-m", "phonemeter", "rate", "demo"), None),
        ("make help", None),
        (("git", "log"), None),
    ],
)
def test_a_part_is_known_by_its_program_its_module_or_its_command(
    command: str | tuple[str, ...], part: str | None
) -> None:
    assert real_part_of(command) == part
