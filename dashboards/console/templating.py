"""Templates: one environment per language, in which everything is escaped."""

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from dashboards.console.languages import LANGUAGES, WORDINGS, Language, Wording

FOLDERS: Final = ("static", "assets")
"""Folders of files that pages name: our own, and those of packages."""


def _environment(wording: Wording) -> Environment:
    environment = Environment(
        loader=PackageLoader("dashboards.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    environment.install_gettext_translations(wording.translations, newstyle=True)  # type: ignore[attr-defined] # by the extension
    for name in ("number", "compact", "money", "percent", "day", "minute"):
        environment.filters[name] = getattr(wording, name)
    environment.filters["text"] = wording.text
    environment.globals["file"] = file_address
    return environment


@lru_cache(maxsize=256)
def file_address(name: str) -> str:
    """The address of a file such as `static/console.css`, which changes with its content."""
    content = (files("dashboards.console") / name).read_bytes()
    return f"/{name}?{hashlib.sha256(content).hexdigest()[:12]}"


_ENVIRONMENTS: Final[Mapping[Language, Environment]] = {one: _environment(WORDINGS[one]) for one in LANGUAGES}


def rendered(template: str, language: Language, values: Mapping[str, Any]) -> str:
    """A page in a language."""
    return _ENVIRONMENTS[language].get_template(template).render(values)
