"""docs/tutorial.md: a reader who follows it sees what it promises, on a stack of his own."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from phonemeter.settings import Settings
from phonemeter.stack.stack import Stack
from tests.waiting import blocking_until

pytestmark = pytest.mark.stack

PAGE = (Path(__file__).parents[1] / "docs" / "tutorial.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(toml|python|sh)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)

SEEN = [
    ("python tap.py code-1", "5254a5777640e6a0197f686573ca53a0387a01b6a87376f582cebfa7e731dbc5"),
    ("phonemeter balance", "trial quota: 1 of 2 calls left"),
    ("curl", "trial_charge"),
    ("python tap.py code-1", "5254a5777640e6a0197f686573ca53a0387a01b6a87376f582cebfa7e731dbc5"),
    ("phonemeter explain", "duplicate"),
    ("python tap.py code-2", ""),
    ("python tap.py code-3", ""),
    ("phonemeter alerts list", "uncovered"),
    ("python buy.py", ""),
    ("phonemeter balance", "249"),
    ("phonemeter alerts list", "recovered"),
    ("phonemeter audit", "The ledger is what the rules say."),
    ("phonemeter status", ""),
]
"""The commands of the page in their order, and what each shows."""


def test_the_page_says_what_is_seen() -> None:
    assert all(words in PAGE for _, words in SEEN)


def test_the_tutorial_can_be_followed(stack_settings: Settings, tmp_path: Path) -> None:
    """Write the files of the page and run its commands one after the other; `phonemeter up` is a `Stack`."""
    (configuration,) = [text for language, text in BLOCKS if language == "toml"]
    rules = {name: value for name, value in tomllib.loads(configuration).items() if name != "data_dir"}
    settings = stack_settings.replaced(**rules)
    expected = iter(SEEN)
    with Stack(settings):
        for language, text in BLOCKS:
            if language == "python":
                (tmp_path / text.splitlines()[0].removeprefix("# ")).write_text(text, encoding="utf-8")
            elif language == "sh" and text != "phonemeter up\n":
                for line in text.splitlines():
                    begins, words = next(expected)
                    assert line.startswith(begins)
                    _follow(line, words, settings, tmp_path)
    assert next(expected, None) is None


def _follow(line: str, words: str, settings: Settings, directory: Path) -> None:
    """Run a command; one that reads is run again until it shows what is on its way."""
    if line.startswith("python "):
        status, output = _run(line, settings, directory)
        assert (status, words in output) == (0, True), output
        return
    seen: list[tuple[int, str]] = []

    def is_shown() -> bool:
        # An app that is not in the ledger yet is not found: status 1.
        seen[:] = [_run(line, settings, directory)]
        return seen[0][0] == 0 and words in seen[0][1]

    try:
        blocking_until(is_shown)
    except AssertionError as error:
        error.add_note(f"{line}: {seen}")
        raise


def _run(line: str, settings: Settings, directory: Path) -> tuple[int, str]:
    """Exit status and output of a command."""
    program, *arguments = shlex.split(line)
    if program == "curl":
        url, _, query = arguments
        path = urllib.parse.urlsplit(url)
        url = path._replace(netloc=f"{path.hostname}:{settings.engine_http_port}").geturl()
        with urllib.request.urlopen(url, data=query.encode()) as answer:  # noqa: S310 - http on loopback
            return 0, str(answer.read().decode())
    command = [sys.executable, *(["-m", "phonemeter"] if program == "phonemeter" else []), *arguments]
    done = subprocess.run(
        command,
        cwd=directory,
        env={**os.environ, **settings.to_environ()},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return done.returncode, done.stdout if done.returncode == 0 else done.stdout + done.stderr
