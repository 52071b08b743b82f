"""The texts that the code and the templates have, compared with what a catalog translates."""

from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

METHODS: Final = [("**.py", "python"), ("**/templates/**.html", "jinja2")]
OPTIONS: Final[dict[str, Any]] = {"**/templates/**.html": {"trim_blocks": "true", "lstrip_blocks": "true"}}
KEYWORDS: Final[dict[str, Any]] = {
    "_": None,
    "gettext": None,
    "ngettext": (1, 2),
    "marked": None,
    "text": None,
}
FOLDER: Final = Path(str(files("dashboards.console")))


def texts_of_code() -> set[str]:
    """Every text that is shown."""
    found = extract_from_dir(FOLDER, METHODS, OPTIONS, KEYWORDS)
    return {message[0] if isinstance(message, tuple) else message for _, _, message, _, _ in found}


def texts_of_catalog(language: str) -> dict[str, str]:
    """Every text of a catalog, with its translation."""
    with (FOLDER / "texts" / f"{language}.po").open("rb") as source:
        return {_first(one.id): _first(one.string) for one in read_po(source, locale=language) if one.id}


def _first(text: Any) -> str:  # noqa: ANN401 - a text, or those of one and of several
    """The text for one, where there is another for several."""
    return str(text if isinstance(text, str) else text[0])
