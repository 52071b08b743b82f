"""`python -m dashboards.grafana`: write the dashboard's JSON, which Grafana is provisioned with."""

import json
from pathlib import Path
from typing import Final

from dashboards.grafana.usage import dashboard

FILE: Final = Path(__file__).with_name("dashboards") / "usage.json"


def rendered() -> str:
    """The JSON as it is committed."""
    return json.dumps(dashboard(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(rendered(), encoding="utf-8")
