"""The rules of Prometheus as an object for its operator: `python -m tools.prometheus_rule > FILE`."""

import sys
from pathlib import Path
from typing import Final

import yaml

RULES: Final = Path(__file__).parents[1] / "deploy" / "prometheus" / "rules"


def text() -> str:
    """The object in YAML, with the groups of every file."""
    files = sorted(RULES.glob("*.yml"))
    groups = [group for file in files for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]]
    rule = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "phonemeter", "labels": {"app.kubernetes.io/name": "phonemeter"}},
        "spec": {"groups": groups},
    }
    return yaml.safe_dump(rule, sort_keys=False, allow_unicode=True, width=140)


if __name__ == "__main__":
    sys.stdout.write(text())
