"""Queries for the ClickHouse data source, which the SDK has no types for.

The fields are those that grafana-clickhouse-datasource 4 stores for a query written in SQL.
"""

from importlib import resources
from typing import Any, Final, Self

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.runtime import DataqueryConfig
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.common import DataSourceRef

PLUGIN: Final = "grafana-clickhouse-datasource"
PLUGIN_VERSION: Final = "4.20.0"
SOURCE: Final = DataSourceRef(type_val=PLUGIN, uid="phonemeter-clickhouse")
_FORMATS: Final = {"timeseries": 0, "table": 1}


def statement(name: str) -> str:
    """A query of the folder `queries`, with Grafana's variables and the plugin's macros in it."""
    return (resources.files(__package__) / "queries" / f"{name}.sql").read_text(encoding="utf-8").strip()


class ClickHouseQuery(Dataquery):
    """One SQL query; `query_type` is `timeseries` or `table`."""

    def __init__(self, raw_sql: str, query_type: str = "table", ref_id: str = "A") -> None:
        self.raw_sql = raw_sql
        self.query_type = query_type
        self.ref_id = ref_id

    def to_json(self) -> dict[str, object]:
        """The query as Grafana stores it."""
        return {
            "refId": self.ref_id,
            "datasource": SOURCE,
            "editorType": "sql",
            "queryType": self.query_type,
            "format": _FORMATS[self.query_type],
            "pluginVersion": PLUGIN_VERSION,
            "rawSql": self.raw_sql,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The query that Grafana stores so."""
        return cls(data["rawSql"], data["queryType"], data["refId"])


class ClickHouseTarget(Builder[ClickHouseQuery]):
    """Builds the query of a panel or an annotation from a file of the folder `queries`."""

    def __init__(self, name: str, ref_id: str = "A") -> None:
        self._query = ClickHouseQuery(statement(name), ref_id=ref_id)

    def by_time(self) -> Self:
        """Have the plugin make time series of it: one for each value of the text columns."""
        self._query.query_type = "timeseries"
        return self

    def build(self) -> ClickHouseQuery:
        """The query."""
        return self._query


def variant() -> DataqueryConfig:
    """Make a query from JSON, as the SDK expects it."""
    return DataqueryConfig(PLUGIN, ClickHouseQuery.from_json)
