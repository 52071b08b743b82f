"""The files of compose, read as compose reads them."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """YAML with the tags of compose."""


_Loader.add_constructor("!reset", lambda _loader, _node: [])


def read_filled(path: Path, variables: Mapping[str, str]) -> dict[str, Any]:
    """The file with every variable that it needs filled in."""
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"\$\{(\w+):\?[^}]*\}", lambda found: variables[found.group(1)], text)
    read: dict[str, Any] = yaml.load(text, _Loader)  # noqa: S506 - a safe loader with one tag more
    return read


def kafka_properties(environment: Mapping[str, object]) -> dict[str, str]:
    """The properties that Kafka's image makes of its environment: three, two or one underscore each."""
    return {
        _key(name): str(value)
        for name, value in environment.items()
        if name.startswith("KAFKA_") and name != "KAFKA_HEAP_OPTS"
    }


def _key(variable: str) -> str:
    name = variable.removeprefix("KAFKA_").lower()
    parts = (part.replace("__", "\0").replace("_", ".").replace("\0", "_") for part in name.split("___"))
    return "-".join(parts)
