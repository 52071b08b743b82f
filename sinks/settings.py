"""Settings of the sink, and those of other services too: variables named `PHONEMETER_` plus the field."""

from typing import Annotated

from pydantic import Field

from kafka_access.settings import KafkaSettings
from sinks.cluster import DEFAULT_REPLICA_PATH
from sinks.retention import Retention


class ServiceSettings(KafkaSettings):
    """Settings of every service of the stage. Frozen."""

    listen_host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="Address that health and metrics are served on; 0.0.0.0 inside a container.",
    )


class LedgerSettings(ServiceSettings):
    """Settings of a service that uses the ledger in ClickHouse."""

    clickhouse: Annotated[
        str, Field(pattern=r"^clickhouses?://[^\s]+/[A-Za-z_][A-Za-z0-9_]*(\?[^\s]*)?$")
    ] = Field(
        "clickhouse://default@127.0.0.1:9000/phonemeter",
        description="URL of the ClickHouse database that holds the ledger (native protocol).",
        repr=False,
        json_schema_extra={
            "expected": "a URL of the form clickhouse://USER[:PASSWORD]@HOST:PORT/DATABASE",
            "secret": True,
        },
    )
    clickhouse_cluster: Annotated[str, Field(pattern=r"^([A-Za-z_][\w.-]*)?$")] = Field(
        "",
        description="Name of the ClickHouse cluster that has the ledger, as its servers' configuration has "
        "it; without one the ledger is on one server.",
        json_schema_extra={"expected": "the name of a cluster: letters, digits, _, . and -"},
    )
    clickhouse_replica_path: Annotated[str, Field(pattern=r"^/[\w{}./-]*\{shard\}[\w{}./-]*$")] = Field(
        DEFAULT_REPLICA_PATH,
        description="Beginning of the replicas' paths in Keeper on a cluster; database and table follow, and "
        "the replica is called `{replica}`.",
        json_schema_extra={"expected": "a path with {shard} in it, like /clickhouse/tables/{shard}"},
    )


class SinkSettings(LedgerSettings):
    """Settings of the sink."""

    sink_batch_rows: int = Field(
        100_000, ge=1, le=1_000_000, description="Rows after which the sink writes what it holds."
    )
    sink_batch_bytes: int = Field(
        32_000_000,
        ge=1_000_000,
        le=256_000_000,
        description="Encoded size of one partition's ledger records at which the sink writes them.",
    )
    sink_buffer_bytes: int = Field(
        64_000_000,
        ge=1_000_000,
        le=1_000_000_000,
        description="Encoded size of all partitions' ledger records at which the sink writes the largest "
        "batch; it takes about six times that in memory.",
    )
    sink_flush_ms: int = Field(
        500, ge=1, le=60_000, description="Time after which the sink writes what it holds, however little."
    )
    ledger_client_days: int = Field(
        0,
        ge=0,
        le=36_500,
        description="Age in days from which a line's client is forgotten in ClickHouse; 0 for never. What "
        "was forgotten comes back only by `phonemeter audit --repair`.",
    )
    ledger_cold_days: int = Field(
        0,
        ge=0,
        le=36_500,
        description="Age in days from which lines are on the cold volume of ClickHouse; 0 for never.",
    )
    ledger_cold_volume: Annotated[str, Field(pattern=r"^\w+$")] = Field(
        "cold", description="Name of the cold volume in the storage policy."
    )
    ledger_storage_policy: Annotated[str, Field(pattern=r"^\w*$")] = Field(
        "",
        description="Storage policy of the ledger's table; without one it stays as it is. It must have the "
        "volumes that the table has, so one called `default`.",
    )
    event_id_digits: int = Field(
        16,
        ge=16,
        le=64,
        description="How many digits of event ids that are a SHA-256 ClickHouse keeps; 64 are all, and two "
        "of them take a byte a line. After a change, `phonemeter audit --repair` rewrites the older lines.",
    )
    sink_metrics_port: int = Field(
        9465, ge=1, le=65_535, description="Port of the sink's metrics and health."
    )

    @property
    def retention(self) -> Retention:
        """The retention of the ledger's table."""
        return Retention(
            self.ledger_client_days,
            self.ledger_cold_days,
            self.ledger_cold_volume,
            self.ledger_storage_policy,
        )
