"""Every `phonemeter` command in pages, help, messages, alerts and the Makefile is one that there is."""

import pytest

from tests.commands_named import Named, fault, named_in, texts

NAMED = [(where, list(named_in(where, text))) for where, text in texts()]
WITH_COMMANDS = [(where, commands) for where, commands in NAMED if commands]


@pytest.mark.parametrize(("where", "commands"), WITH_COMMANDS, ids=[where for where, _ in WITH_COMMANDS])
def test_every_command_that_a_file_names_exists_with_its_options(where: str, commands: list[Named]) -> None:
    wrong = {
        f"phonemeter {one.words}": found
        for one in commands
        if (found := fault(one.words, whole=one.whole)) is not None
    }
    assert not wrong, where


def test_pages_help_messages_alerts_and_the_makefile_are_looked_at() -> None:
    places = {where for where, _ in WITH_COMMANDS}
    for where in (
        "README.md",
        "README.zh-CN.md",
        "docs/how-to/runbooks.md",
        "Makefile",
        "phonemeter/cli/up.py",
    ):
        assert where in places
    assert sum(len(commands) for _, commands in WITH_COMMANDS) > 250


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("page.md", "See `phonemeter dead-letters explain`."),
        ("page.md", "See `phonemeter\nbalanced APPID`."),
        ("page.md", "```sh\nphonemeter audit --fix  # what\n```\n"),
        ("page.md", "```\n$ tail -F taps | phonemeter emit --all -\n```\n"),
        ("page.md", "Only `phonemeter status --quick` says it."),
        ("page.md", "Only `phonemeter status now` says it."),
        ("page.py", 'say(f"{name} is wrong; phonemeter alerts lists tells it.")'),
        ("page.py", 'say("it is wrong: "\n"start it (phonemeter start).")'),
        ("page.py", 'say("run phonemeter replay --confirmed and wait")'),
        ("page.yml", "# see phonemeter dead-letters\n# explain\n"),
        ("Makefile", "\t@$(RUN) phonemeter demonstrate $(ARGS)\n"),
    ],
)
def test_a_command_or_option_that_does_not_exist_is_found(page: str, text: str) -> None:
    assert [one for one in named_in(page, text) if fault(one.words, whole=one.whole)]


@pytest.mark.parametrize(
    "text",
    [
        "`phonemeter alerts ack`, `phonemeter dead-letters retry --all --reason wrong_partition`",
        "`phonemeter dead-letters show IDENTITY...`, `phonemeter alerts check [FILE]`, `phonemeter emit -`",
        "phonemeter is up; phonemeter alerts list shows them (phonemeter up), phonemeter audit --repair.",
    ],
)
def test_commands_that_exist_are_taken(text: str) -> None:
    assert not [one for one in named_in("page.md", text) if fault(one.words, whole=one.whole)]
