"""The ledger on a cluster: statements as the engine's parser reads them, and two shards that answer as one.

`tests.sinks.cluster_engine` says what of a cluster is real here.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

import pytest
from clickhouse_driver.errors import Error, ErrorCodes

from dashboards.cookbook import recipes
from dashboards.views import NAMES, statements
from metering.ledger import Entry, encode_records
from metering.placement import partition_of
from phonemeter.audit.stored_ledger import open_stored_ledger
from phonemeter.clickhouse import refuse_cluster
from phonemeter.errors import UserError
from phonemeter.settings import load
from sinks.clickhouse_address import ClickHouseAddress, on_cluster
from sinks.cluster import DEFAULT_REPLICA_PATH, SHARDED_BY, Cluster
from sinks.connection import connect, rows
from sinks.entry_columns import concatenate, decode
from sinks.errors import ClickHouseError, SinkError
from sinks.ledger_table import LedgerTable
from sinks.migrations import known, migrate
from sinks.position import BEFORE_ALL, Position
from sinks.schema_target import target_of
from tests.real_parts import starts_real_parts
from tests.sinks.parts import EngineProcess
from tools.pictures.half_year import simulated_entries

PARTITIONS = 4
CLUSTER = Cluster("two")
DIGITS = 16
WHOLE_CURVE = "usage_curve(app = '{app}', first_day = '2026-01-01', last_day = '2026-06-30')"


def schema() -> list[str]:
    """Every statement of the schema on a cluster."""
    ours = [*(step.sql for step in known()), *statements()]
    return [statement for sql in ours for statement in CLUSTER.statements(sql, "phonemeter")]


def partitioned() -> dict[int, list[Entry]]:
    """A simulated half-year, each app's lines in the partition of its events."""

    def place(entry: Entry) -> int:
        return partition_of(entry.appid.encode(), PARTITIONS)

    return {at: list(entries) for at, entries in groupby(sorted(simulated_entries(), key=place), key=place)}


@dataclass
class Both:
    """One engine with the same ledger twice: on the cluster, and on one server."""

    engine: EngineProcess

    @property
    def cluster(self) -> str:
        # The engine has no port for itself as another server.
        return f"{self.engine.url}?cluster=two&prefer_localhost_replica=1"

    @property
    def alone(self) -> str:
        return self.engine.url.replace("/phonemeter", "/alone")

    def answers(self, query: str) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
        patient = partial(connect, reply_timeout_s=250.0)
        with patient(self.cluster) as cluster, patient(self.alone) as alone:
            return rows(cluster, query), rows(alone, query)


def fill(url: str) -> None:
    migrate(url)
    with connect(url) as client:
        target_of(url).create_views(client, statements())
    table = LedgerTable(url)
    for partition, entries in partitioned().items():
        for value in encode_records(partition, entries):
            table.insert(partition, concatenate([decode(value, partition)]), table.position(partition))
    table.close()


@pytest.fixture(scope="module")
@starts_real_parts
def both(tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> Iterator[Both]:
    folder = tmp_path_factory.mktemp("cluster")
    with EngineProcess(folder, free_port(), free_port(), module="tests.sinks.cluster_engine") as engine:
        both = Both(engine)
        fill(both.cluster)
        fill(both.alone)
        yield both


def test_a_statement_of_one_server_stands_for_a_replicated_and_a_distributed_one() -> None:
    ledger, distributed, alias = CLUSTER.statements(known()[0].sql, "phonemeter")
    assert ledger.startswith("CREATE TABLE IF NOT EXISTS ledger_local ON CLUSTER `two`\n(")
    assert (
        "\nENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/phonemeter/ledger_local', '{replica}')\n"
        in ledger
    )
    assert "non_replicated" not in ledger
    assert "SETTINGS replicated_deduplication_window = 10000," in ledger
    assert distributed.splitlines()[:2] == [
        "CREATE TABLE IF NOT EXISTS ledger ON CLUSTER `two` AS `phonemeter`.ledger_local",
        "ENGINE = Distributed('two', 'phonemeter', 'ledger_local', source_partition)",
    ]
    assert alias.endswith(
        "MODIFY COLUMN recorded_at DateTime64(3, 'UTC') "
        "MATERIALIZED time + toIntervalMillisecond(recorded_after_ms)"
    )
    states, _ = CLUSTER.statements(known()[1].sql, "phonemeter")
    assert "delivery_states_local', '{replica}', log_offset)" in states
    altered = CLUSTER.statements("-- Why.\nALTER TABLE ledger COMMENT COLUMN kind 'x'", "phonemeter")
    assert altered == (
        "ALTER TABLE ledger_local ON CLUSTER `two` COMMENT COLUMN kind 'x'",
        "ALTER TABLE ledger ON CLUSTER `two` COMMENT COLUMN kind 'x'",
    )
    (view,) = CLUSTER.statements(statements()[0], "phonemeter")
    assert "CREATE OR REPLACE VIEW clock ON CLUSTER `two`" in view
    assert {name for step in known() for name in step.tables} == set(SHARDED_BY)


def test_the_statements_of_one_server_are_those_of_the_files() -> None:
    class Recorded:
        def __init__(self) -> None:
            self.said: list[str] = []

        def execute(self, statement: str) -> None:
            self.said.append(statement)

    client: Any = Recorded()
    target = target_of("clickhouse://default@h/phonemeter")
    for step in known():
        target.run(client, step.sql)
    target.create_views(client, statements())
    assert client.said == [*(step.sql for step in known()), *statements()]
    assert ClickHouseAddress.of("clickhouse://default@h/phonemeter").options == {
        "user": "default",
        "database": "phonemeter",
    }


def test_every_statement_is_one_that_the_engine_s_parser_knows(both: Both) -> None:
    said = schema()
    assert len(said) == 2 * len(known()) + 1 + len(NAMES)
    with connect(both.alone) as client:
        for statement in said:
            assert rows(client, f"EXPLAIN AST {statement}")


def test_migrating_again_changes_nothing_and_leaves_the_views_alone(both: Both) -> None:
    noted = "SELECT count() FROM schema_migrations WHERE version = 0"
    with connect(both.cluster) as client:
        assert migrate(both.cluster) == 0
        before = rows(client, noted)
        target_of(both.cluster).create_views(client, statements())
        assert rows(client, noted) == before
        rows(client, "DROP VIEW rejections")
        target_of(both.cluster).create_views(client, statements())
        assert rows(client, "SELECT count() FROM rejections") == rows(
            client, "SELECT count() FROM rejections"
        )
        assert rows(client, "SELECT sum(version = 12), sum(version = 0) > 0 FROM schema_migrations") == [
            (1, 1)
        ]


def test_both_shards_have_lines_and_an_app_is_on_one(both: Both) -> None:
    on = "SELECT shardNum() AS shard, uniqExact(appid), count() FROM ledger WHERE appid != '' GROUP BY 1"
    with connect(both.cluster) as client:
        shards = rows(client, f"{on} ORDER BY shard")
        assert [shard for shard, _, _ in shards] == [1, 2]
        ((apps,),) = rows(client, "SELECT uniqExact(appid) FROM ledger WHERE appid != ''")
    assert sum(of_shard for _, of_shard, _ in shards) == apps


@pytest.mark.parametrize("view", [name for name in NAMES if name != "usage_curve"])
def test_a_view_answers_on_two_shards_as_on_one_server(both: Both, view: str) -> None:
    cluster, alone = both.answers(f"SELECT * FROM {view} ORDER BY ALL")  # noqa: S608 - our own names
    assert cluster == alone


def test_curves_and_questions_of_the_cookbook_are_answered_alike(both: Both) -> None:
    app = min(entry.appid for entry in partitioned()[0] if entry.appid)
    curve = f"SELECT * FROM {WHOLE_CURVE.format(app=app)}"  # noqa: S608 - of this test
    for query in (curve, *(one.sql for one in recipes() if "authorizations" not in one.sql)):
        cluster, alone = both.answers(query)
        assert sorted(map(str, cluster)) == sorted(map(str, alone)), query


def test_the_audit_reads_the_same_fingerprints_from_two_shards(both: Both) -> None:
    with (
        open_stored_ledger(both.cluster, DIGITS) as cluster,
        open_stored_ledger(both.alone, DIGITS) as alone,
    ):
        assert cluster.partitions() == alone.partitions() == sorted(partitioned())
        for partition in cluster.partitions():
            highest = cluster.highest(partition)
            assert highest == alone.highest(partition)
            assert cluster.fingerprints(partition, highest) == alone.fingerprints(partition, highest) != {}
        assert cluster.repeated() == alone.repeated()
        assert cluster.shared_packs() == alone.shared_packs()


def test_without_subqueries_over_all_shards_a_question_would_be_refused_or_wrong(both: Both) -> None:
    question = "SELECT count() FROM ledger WHERE source_offset IN (SELECT source_offset + 1 FROM ledger)"
    with connect(both.cluster) as client, connect(both.alone) as alone:
        right = rows(alone, question)
        assert rows(client, question) == right
        assert rows(client, f"{question} SETTINGS distributed_product_mode = 'local'") != right
        with pytest.raises(Error) as refused:
            rows(client, f"{question} SETTINGS distributed_product_mode = 'deny'")
        assert refused.value.code == 288


def test_an_insert_goes_to_one_shard_as_one_part_and_a_token_counts_there(both: Both) -> None:
    table, other = LedgerTable(both.cluster), LedgerTable(both.cluster)
    entries = [Entry(10**9 + at, 0, "free", 10**12, 10**12, f"app{at}", calls=1) for at in range(500)]
    columns = concatenate([decode(value, 1) for value in encode_records(1, entries)])
    parts = (
        "SELECT count() FROM system.parts WHERE active AND database = 'phonemeter' AND table = 'ledger_local'"
    )
    with connect(both.cluster) as client:
        rows(client, "SYSTEM STOP MERGES ledger_local")
        ((before,),) = rows(client, parts)
        after = table.position(1)
        table.insert(1, columns, after)
        assert rows(client, parts) == [(before + 1,)]
        assert table.position(1) == other.position(1) == Position(10**9 + 499, 0)
        other.insert(1, columns, after)
        assert rows(client, "SELECT count() FROM ledger WHERE source_offset >= 1000000000") == [(500,)]
        rows(client, "SYSTEM START MERGES ledger_local")
        forget = "ALTER TABLE ledger_local DELETE WHERE source_offset >= 1000000000"
        rows(client, f"{forget} SETTINGS mutations_sync = 1")
    assert table.position(1) == after
    assert table.position(PARTITIONS) == BEFORE_ALL
    table.mark_unsettled(1)
    assert table.position(1) == after
    table.close()
    other.close()


def test_one_server_and_a_cluster_do_not_take_each_other_s_ledger(both: Both) -> None:
    with pytest.raises(
        SinkError, match=r"database phonemeter is on a cluster: set PHONEMETER_CLICKHOUSE_CLUSTER"
    ):
        migrate(both.engine.url)
    with pytest.raises(
        SinkError, match=r"database alone has a ledger of one server: give cluster two another"
    ):
        migrate(both.cluster.replace("/phonemeter", "/alone"))
    refuse_cluster(both.alone, "audit --repair")
    with pytest.raises(
        UserError, match=r"audit --repair exchanges tables in one step, which cluster two cannot"
    ):
        refuse_cluster(both.cluster, "audit --repair")


def test_an_unknown_cluster_is_one_sentence(both: Both) -> None:
    table = LedgerTable(f"{both.engine.url}?cluster=three")
    table.mark_unsettled(0)
    with pytest.raises(ClickHouseError, match=r"^[^\n]*three[^\n]*$"):
        table.position(0)
    table.close()


class BehindClient:
    """A client of a replica that lags, for as many requests as it was told."""

    def __init__(self, code: int, times: int) -> None:
        self.code = code
        self.left = times

    def execute(self, *_: object, **__: object) -> list[tuple[int, tuple[int, int]]]:
        if self.left:
            self.left -= 1
            raise _error(self.code)
        return [(1, (7, 0))]

    def disconnect(self) -> None: ...


def _error(code: int) -> Error:
    error = Error("behind")
    error.code = code
    return error


@pytest.mark.parametrize(
    "code", [ErrorCodes.REPLICA_IS_NOT_IN_QUORUM, ErrorCodes.UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE]
)
def test_a_replica_that_lags_is_asked_again_and_no_other_error_is(code: int) -> None:
    slept: list[float] = []
    table = LedgerTable("clickhouse://default@h/phonemeter?cluster=two", sleep=slept.append)
    table._client = BehindClient(code, 3)
    assert table.position(0) == Position(7, 0)
    assert len(slept) == 3
    table._client = BehindClient(code, 10**6)
    with pytest.raises(ClickHouseError):
        table.position(0)
    assert sum(slept) < 6
    table._client = BehindClient(ErrorCodes.NETWORK_ERROR, 1)
    with pytest.raises(ClickHouseError):
        table.position(0)


def test_the_cluster_is_in_the_urls_of_all_who_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHONEMETER_CLICKHOUSE", "clickhouses://sink:p%26w@h:9440/phonemeter?ca_certs=/a.pem")
    monkeypatch.setenv("PHONEMETER_READS_CLICKHOUSE", "clickhouse://reads@h/phonemeter")
    monkeypatch.setenv("PHONEMETER_CLICKHOUSE_CLUSTER", "main")
    settings = load()
    for url in (settings.clickhouse, settings.reads_clickhouse):
        assert ClickHouseAddress.of(url).cluster == Cluster("main", DEFAULT_REPLICA_PATH)
    assert ClickHouseAddress.of(settings.clickhouse).options["password"] == "p&w"  # noqa: S105 - of this test
    # A service of the stack gets the same from its environment.
    for name, value in settings.to_environ().items():
        monkeypatch.setenv(name, value)
    assert load().clickhouse == settings.clickhouse
    monkeypatch.setenv("PHONEMETER_CLICKHOUSE_REPLICA_PATH", "/tables/without")
    with pytest.raises(Exception, match=r"a path with \{shard\} in it"):
        load()


def test_a_url_without_a_cluster_stays_as_it_is() -> None:
    url = "clickhouse://default@127.0.0.1:9000/phonemeter?max_execution_time=300"
    assert on_cluster(url, "", DEFAULT_REPLICA_PATH) == url
    assert on_cluster("", "main", DEFAULT_REPLICA_PATH) == ""


def test_a_server_that_lacks_a_table_gets_it_as_the_others_have_it() -> None:
    had = "CREATE TABLE phonemeter.ledger_local (`a` UInt8) ENGINE = ReplicatedMergeTree('/x', '{replica}')"
    assert CLUSTER.copied(had) == had.replace(
        "CREATE TABLE phonemeter.ledger_local",
        "CREATE TABLE IF NOT EXISTS phonemeter.ledger_local ON CLUSTER `two`",
    )
