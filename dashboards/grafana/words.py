"""The words of the pages: written in English in the code, Chinese from `chinese.toml`."""

import tomllib
from importlib import resources
from typing import Final

LANGUAGES: Final = {"en": "English", "zh": "中文"}
"""Every language, and what it calls itself."""


class Words:
    """The words of one language."""

    def __init__(self, language: str) -> None:
        self.language = language

    def __call__(self, english: str) -> str:
        """The words for an English text.

        Raises:
            KeyError: the table lacks it.
        """
        return english if self.language == "en" else CHINESE[english]


def chinese() -> dict[str, str]:
    """The Chinese of every text of the pages."""
    return tomllib.loads((resources.files(__package__) / "chinese.toml").read_text(encoding="utf-8"))


CHINESE: Final = chinese()
