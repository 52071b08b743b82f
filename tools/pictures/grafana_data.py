"""Panels and frames as Grafana shows them, by Grafana's own `@grafana/data`."""

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from tools.grafana import modules
from tools.node_packages import NODE
from tools.pictures.pages import Json

SCRIPT: Final = Path(__file__).with_name("grafana_data.js")


class Field(NamedTuple):
    """A column or series with its values, texts and colors."""

    name: str
    title: str
    type: str
    unit: str
    color: str
    custom: Json
    values: list[Any]
    texts: list[str]
    colors: list[str]
    links: list[list[str]]


class Frame(NamedTuple):
    """The answer to one query of a panel."""

    name: str
    fields: list[Field]


class Value(NamedTuple):
    """One number of a panel that shows single values."""

    title: str
    text: str
    color: str


class Shown(NamedTuple):
    """A panel as Grafana shows it."""

    frames: list[Frame]
    values: list[Value]
    unmatched: list[str]
    """Names of overrides that match nothing in the frames."""

    @property
    def fields(self) -> list[Field]:
        """The visible fields of all frames."""
        return [
            field
            for frame in self.frames
            for field in frame.fields
            if not field.custom.get("hideFrom", {}).get("viz")
        ]

    @property
    def series(self) -> list[tuple[Field, Field]]:
        """Each field of numbers with the times beside it."""
        return [
            (next(one for one in frame.fields if one.type == "time"), field)
            for frame in self.frames
            for field in frame.fields
            if field.type == "number"
        ]


class GrafanaData:
    """A process of Node that answers with `@grafana/data`."""

    def __init__(self) -> None:
        # The language of the numbers is that of the environment, and the same in English and Chinese.
        environment = os.environ | {"NODE_PATH": str(modules()), "LC_ALL": "en_US.UTF-8"}
        self._process = subprocess.Popen(  # noqa: S603 - Node of the wheel, our own script
            [NODE, SCRIPT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def shown(self, panel: Json, frames: Sequence[Json]) -> Shown:
        """A panel with the frames that its queries gave, defaults and overrides applied."""
        said = self._ask("shown", {"panel": panel, "frames": frames})
        return Shown(
            [Frame(one["name"], [Field(**field) for field in one["fields"]]) for one in said["frames"]],
            [Value(**value) for value in said["values"]],
            said["unmatched"],
        )

    def ticks(self, panel: Json, values: Sequence[float]) -> list[str]:
        """Numbers at an axis of a panel."""
        defaults = panel["fieldConfig"]["defaults"]
        said: list[str] = self._ask("ticks", {"defaults": defaults, "values": list(values)})
        return said

    def color(self, name: str) -> str:
        """A color by the name that it has in Grafana."""
        said: str = self._ask("color", {"name": name})
        return said

    def _ask(self, ask: str, question: Json) -> Any:  # noqa: ANN401 - what the question is answered with
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("Node was started without pipes")
        self._process.stdin.write(json.dumps({"ask": ask} | question).encode() + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{SCRIPT.name} ended; try: node {SCRIPT}")
        return json.loads(line)
