"""The accounts of a cluster, tried in the real engine with distributed tables."""

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from dashboards.views import NAMES, statements
from sinks.cluster import Cluster
from sinks.migrations import known
from tests.dashboards.test_accounts import DEPLOYED, LINES, OWN, STATES, asked, users_as
from tests.real_parts import starts_real_parts
from tests.sinks.cluster_engine import CLUSTER, on_this_engine

TWO = Cluster("two")


def configured(folder: Path, account: str, file: str) -> str:
    """The connection of an account of a file, to the engine in a folder with the cluster."""
    users = users_as(account, f"cluster/{file}")
    # Of interest here is what an account may ask, not how long a busy machine takes to answer.
    for profile in users.findall("profiles/*"):
        for limit in [one for one in profile if one.tag in {"max_execution_time", "constraints"}]:
            profile.remove(limit)
    users.write(folder / "users.xml")
    config = f"<clickhouse><users_config>{folder}/users.xml</users_config>{CLUSTER}"
    (folder / "config.xml").write_text(config)
    return f"file:{folder}/engine?config-file={folder}/config.xml"


def schema() -> list[str]:
    ours = [*(step.sql for step in known()), *statements()]
    return [on_this_engine(one) for sql in ours for one in TWO.statements(sql, "phonemeter")]


@pytest.fixture(scope="module")
@starts_real_parts
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a ledger on the cluster, made by the account of the sink."""
    folder = tmp_path_factory.mktemp("accounts")
    made = [
        "CREATE DATABASE phonemeter",
        "USE phonemeter",
        *schema(),
        LINES.replace("phonemeter.ledger", "phonemeter.ledger_local"),
        STATES.replace("phonemeter.delivery_states", "phonemeter.delivery_states_local"),
        "SET distributed_foreground_insert = 1",
        "INSERT INTO ledger (source_offset, kind) VALUES (99, 'lapse')",
        "SELECT count() FROM clusterAllReplicas('two', system.processes)",
        "SELECT count() > 1 FROM clusterAllReplicas('two', system.tables) WHERE database = 'phonemeter'",
        "ALTER TABLE delivery_states_local DELETE WHERE log_partition = 7 SETTINGS mutations_sync = 1",
    ]
    *answers, processes, tables, forgotten = asked(configured(folder, "sink", "accounts.xml"), made)
    assert (answers, forgotten) == ([[]] * len(answers), [])
    assert (tables, len(processes)) == ([[1]], 1)
    return folder


def ask_as(account: str, folder: Path, *queries: str, file: str) -> list[Any]:
    return asked(configured(folder, account, file), list(queries))


def test_an_owner_sees_its_own_apps_only_on_every_shard(folder: Path) -> None:
    views = [name for name in NAMES if name not in ("clock", "usage_curve", "rejections")]
    tables = ("ledger", "delivery_states", "ledger_local", *views)
    queries = [f"SELECT DISTINCT appid FROM phonemeter.{name}" for name in tables]  # noqa: S608 - our own names
    found = ask_as("owner_example", folder, *queries, file="readers.xml")
    told = dict(zip(tables, found, strict=True))
    for ledger in ("ledger", "ledger_local"):
        assert sorted(told.pop(ledger)) == [[""], [OWN]]
    assert {name: rows for name, rows in told.items() if rows not in ([], [[OWN]])} == {}
    assert {name for name, rows in told.items() if rows} >= {
        "usage_hourly",
        "apps",
        "delivery_states",
        "deliveries",
    }


def test_readers_read_and_neither_write_nor_reach_other_servers(folder: Path) -> None:
    refused = (
        "INSERT INTO phonemeter.ledger (kind) VALUES ('x')",
        "SELECT * FROM remote('127.0.0.1:1', system.one)",
        "SELECT count() FROM clusterAllReplicas('two', system.one)",
        "DROP TABLE phonemeter.ledger_local",
    )
    for account, file in (("reader", "accounts.xml"), ("reads", "accounts.xml"), ("analyst", "readers.xml")):
        count, *others = ask_as(
            account, folder, "SELECT count() > 20 FROM phonemeter.ledger", *refused, file=file
        )
        assert count == [[1]], account
        assert [one for one in others if "Code: " not in str(one)] == [], account


def test_the_files_of_a_cluster_have_the_accounts_and_limits_of_those_of_one_server() -> None:
    for file in ("accounts.xml", "readers.xml"):
        one, cluster = (ET.parse(DEPLOYED / path).getroot() for path in (file, f"cluster/{file}"))  # noqa: S314 - our own files
        for section in ("users", "profiles"):
            assert [each.tag for each in one.findall(f"{section}/*")] == [
                each.tag for each in cluster.findall(f"{section}/*")
            ]
        limits = {each.tag: {limit.tag: limit.text for limit in each} for each in one.findall("profiles/*")}
        assert {
            each.tag: {limit.tag: limit.text for limit in each if limit.tag != "distributed_product_mode"}
            for each in cluster.findall("profiles/*")
        } == limits
        granted = {
            each.text for each in one.findall("users/*/grants/query") if "_repair" not in str(each.text)
        }
        assert granted <= {each.text for each in cluster.findall("users/*/grants/query")}
