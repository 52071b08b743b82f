"""The views on the ledger, for analysts, Grafana and `phonemeter balance`: one file each or by `usage`.

They are replaced at every start of the sink, so they need no migrations. The sink does not know them; the
program hands them to it.
"""

from importlib import resources
from typing import Final

from dashboards.views.usage import USAGE, statement

NAMES: Final = (
    "clock",
    "usage_hourly",
    "usage_daily",
    "usage_monthly",
    "usage_monthly_by_app",
    "usage_curve",
    "corrections",
    "authorizations",
    "funnel",
    "apps",
    "lineage",
    "orders",
    "packs",
    "pack_burndown",
    "balances_now",
    "unsettled",
    "uncovered",
    "lapses",
    "alerts",
    "deliveries",
    "paces",
    "forecasts",
    "forecast_daily",
    "forecast_packs",
    "platform_usage",
    "agreement",
    "routing",
    "rejections",
)
"""Every view, each after those it reads."""


def statements() -> tuple[str, ...]:
    """The statements that create or replace the views, in the order in which they must run."""
    files = resources.files(__name__)
    return tuple(
        statement(name) if name in USAGE else (files / f"{name}.sql").read_text(encoding="utf-8")
        for name in NAMES
    )
