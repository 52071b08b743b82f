"""Queries for the Prometheus data source."""

from collections.abc import Sequence
from typing import Final

from grafana_foundation_sdk.builders.prometheus import Dataquery as PrometheusQuery
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.common import DataSourceRef

SOURCE: Final = DataSourceRef(type_val="prometheus", uid="phonemeter-prometheus")

Targets = Sequence[Builder[Dataquery]]


def quantile(share: float, histogram: str, *labels: str) -> str:
    """A quantile of a histogram over the last minutes, for each value of labels."""
    by = ", ".join((*labels, "le"))
    return f"histogram_quantile({share}, sum by ({by}) (rate({histogram}_bucket[$__rate_interval])))"


def rate_by(counter: str, label: str) -> str:
    """Increase of a counter per second, for each value of a label."""
    return f"sum by ({label}) (rate({counter}[$__rate_interval]))"


def lately(counter: str, *labels: str) -> str:
    """Increase of a counter from point to point, for each value of labels."""
    by = f" by ({', '.join(labels)}) " if labels else ""
    return f"sum{by}(increase({counter}[$__rate_interval]))"


def measure(*queries: tuple[str, str]) -> Targets:
    """Prometheus queries: expression and legend, in which labels stand in double braces."""
    return [
        PrometheusQuery()
        .datasource(SOURCE)
        .expr(expr)
        .legend_format(legend)
        .range()
        .ref_id(chr(ord("A") + n))
        for n, (expr, legend) in enumerate(queries)
    ]


def measure_now(expr: str, legend: str) -> Targets:
    """One Prometheus query of which only the newest value matters."""
    return [PrometheusQuery().datasource(SOURCE).expr(expr).legend_format(legend).instant().ref_id("A")]
