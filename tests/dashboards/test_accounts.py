"""The deployed accounts of readers, tried in the real engine: an owner sees its own apps, in every view."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest

from dashboards.http.openapi import READS
from dashboards.views import NAMES, statements
from metering.ledger import Entry
from phonemeter.reads.connection import ReadOnlyConnection
from sinks.migrations import known
from tests.conftest import RunningEngine
from tests.dashboards.http.parts import reading
from tests.phonemeter.cli.storing import stored
from tests.real_parts import starts_real_parts

DEPLOYED = Path(__file__).parents[2] / "deploy" / "clickhouse"
OWN = "wx0000000000000001"
LINES = f"""
INSERT INTO phonemeter.ledger (source_offset, kind, appid, capability, calls, time)
SELECT number, ['trial_grant', 'charge', 'uncovered', 'alert'][1 + number % 4],
    if(number < 8, '{OWN}', 'wx-of-others'), 'quick', 1, toDateTime64('2024-06-01 00:00:00', 3, 'UTC')
FROM numbers(20)
UNION ALL
SELECT 20, kind, '', '', 0, toDateTime64('2024-06-01 00:00:00', 3, 'UTC')
FROM values('kind String', 'clock_start', 'rejection')
"""  # noqa: S608 - our own names
STATES = f"""
INSERT INTO phonemeter.delivery_states (appid, alert_id, route, state)
VALUES ('{OWN}', '0-3-0', 'hook', 'delivered'), ('wx-of-others', '0-11-0', 'hook', 'dead')
"""  # noqa: S608 - our own names


def asked(connection: str, queries: list[str]) -> list[Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.dashboards.as_account", connection],
        input=json.dumps(queries), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def users_as(account: str, file: str = "readers.xml") -> ET.ElementTree:
    """The accounts of a file without passwords; the engine logs in as `account`, called `default`."""
    merged = ET.fromstring(  # noqa: S314 - our own text
        "<clickhouse><profiles><default/></profiles><quotas><default/></quotas><users/></clickhouse>"
    )
    for section in ET.parse(DEPLOYED / file).getroot():  # noqa: S314 - our own file
        into = merged.find(section.tag)
        assert into is not None
        into.extend(one for one in section if one.tag != "default")
    for user in merged.findall("users/*"):
        for password in (*user.findall("password_sha256_hex"), *user.findall("password")):
            password.tag, password.text = "password", ""
            password.attrib.clear()
        user.tag = "default" if user.tag == account else user.tag
    return ET.ElementTree(merged)


@pytest.fixture(scope="module")
@starts_real_parts
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a ledger of two apps, of which one is the example owner's."""
    directory = tmp_path_factory.mktemp("accounts")
    made = [
        "CREATE DATABASE phonemeter",
        "USE phonemeter",
        *(step.sql for step in known()),
        *statements(),
        LINES,
        STATES,
    ]
    assert all(answer == [] for answer in asked(f"file:{directory}/engine", made))
    return directory


def ask_as(account: str, database: Path, *queries: str, file: str = "readers.xml") -> list[Any]:
    users_as(account, file).write(database / "users.xml")
    server = ET.parse(DEPLOYED / "server.xml").getroot()  # noqa: S314 - our own file
    for log in [one for one in server if one.tag.endswith("_log")]:
        server.remove(log)
    ET.SubElement(server, "users_config").text = str(database / "users.xml")
    ET.ElementTree(server).write(database / "config.xml")
    return asked(f"file:{database}/engine?config-file={database}/config.xml", list(queries))


def test_an_owner_sees_its_own_apps_only_whichever_view_is_asked(database: Path) -> None:
    views = [name for name in NAMES if name not in ("clock", "usage_curve", "rejections")]
    tables = ("ledger", "delivery_states", *views)
    queries = [f"SELECT DISTINCT appid FROM phonemeter.{name}" for name in tables]  # noqa: S608 - our own names
    curve = "usage_curve(app = 'wx-of-others', first_day = '2024-06-01', last_day = '2024-06-02')"
    queries.append(f"SELECT sum(succeeded) FROM phonemeter.{curve}")  # noqa: S608 - our own names
    *found, total = ask_as("owner_example", database, *queries)
    assert total == [[0]]
    told = dict(zip(tables, found, strict=True))
    assert sorted(told["ledger"]) == [[""], [OWN]]
    told["ledger"].remove([""])
    assert {name: rows for name, rows in told.items() if rows not in ([], [[OWN]])} == {}
    assert {name for name, rows in told.items() if rows} >= {
        "ledger", "usage_hourly", "usage_monthly", "authorizations", "funnel", "apps", "alerts",
        "balances_now", "uncovered", "delivery_states", "deliveries",
    }  # fmt: skip


def test_an_account_without_a_filter_sees_every_app_although_others_have_one(database: Path) -> None:
    (found,) = ask_as("analyst", database, "SELECT uniqExact(appid), count() FROM phonemeter.ledger")
    assert found == [[3, 22]]


def test_an_owner_is_told_the_clock_of_the_log_and_nothing_else_without_an_app(database: Path) -> None:
    runs_on, kinds = ask_as(
        "owner_example",
        database,
        "SELECT runs_on FROM phonemeter.clock",
        "SELECT kind FROM phonemeter.ledger WHERE appid = ''",
    )
    assert (runs_on, kinds) == ([["wall"]], [["clock_start"]])


@pytest.mark.parametrize(("account", "seconds_max"), [("analyst", 60), ("owner_example", 20)])
def test_a_reader_can_neither_write_nor_lift_its_limits(
    database: Path, account: str, seconds_max: int
) -> None:
    answers = ask_as(
        account, database,
        "INSERT INTO phonemeter.ledger (kind) VALUES ('charge')",
        "DROP VIEW phonemeter.apps",
        f"SET max_execution_time = {seconds_max + 1}",
        "SET max_memory_usage = 0",
        "SET max_execution_time = 0",
    )  # fmt: skip
    assert ["ACCESS_DENIED" in answer for answer in answers[:2]] == [True, True]
    assert ["SETTING_CONSTRAINT_VIOLATION" in answer for answer in answers[2:]] == [True, True, True]


def test_each_reader_has_a_profile_and_a_quota_with_limits() -> None:
    """The embedded engine does not count by quotas, so they cannot be tried here."""
    tree = ET.parse(DEPLOYED / "readers.xml")  # noqa: S314 - our own file
    for user in tree.findall("users/*"):
        assert (
            tree.find(f"profiles/{user.findtext('profile')}/constraints/max_execution_time/max") is not None
        )
        interval = tree.find(f"quotas/{user.findtext('quota')}/interval")
        assert interval is not None
        assert [int(limit.text or 0) > 0 for limit in interval] == [True, True, True]


def test_owners_are_granted_every_view_and_nothing_that_comes_later(database: Path) -> None:
    tree = ET.parse(DEPLOYED / "readers.xml")  # noqa: S314 - our own file
    grants = [query.text for query in tree.findall("users/owner_example/grants/query")]
    assert grants == [f"GRANT SELECT ON phonemeter.{name}" for name in ("ledger", "delivery_states", *NAMES)]
    (answer,) = ask_as("owner_example", database, "SELECT count() FROM phonemeter.schema_migrations")
    assert answer != [[1]]


def test_no_password_has_the_hash_that_is_shipped() -> None:
    tree = ET.parse(DEPLOYED / "readers.xml")  # noqa: S314 - our own file
    hashes = [user.findtext("password_sha256_hex") for user in tree.findall("users/*")]
    assert hashes == ["0" * 64] * 2


class RecordedConnection(ReadOnlyConnection):
    """A connection that keeps its questions with their values in them."""

    asked: ClassVar[list[str]] = []

    def rows(
        self, query: str, parameters: Mapping[str, object] | None, within_s: float
    ) -> list[tuple[Any, ...]]:
        context = self._client.connection.context
        self.asked.append(self._client.substitute_params(query, dict(parameters or {}), context))
        return super().rows(query, parameters, within_s)


async def test_the_account_of_reads_over_http_answers_all_of_them_and_nothing_else(
    database: Path, engine: RunningEngine
) -> None:
    url = stored(
        engine.url("reads_account"), [Entry(0, 0, "trial_grant", 1, 1, OWN, event_id="tap", calls=9)]
    )
    RecordedConnection.asked.clear()
    async with reading(partial(RecordedConnection, url, 30)) as served:
        for read in READS.values():
            await served.get(read.path.replace("{appid}", OWN).replace("{event_id:path}", "tap"))
        for period in ("hour", "month"):
            await served.get(f"/v1/apps/{OWN}/usage?period={period}")
    use = "USE phonemeter"
    answers = ask_as("reads", database, use, *RecordedConnection.asked, file="accounts.xml")
    assert len(answers) > 15
    assert [answer for answer in answers if not isinstance(answer, list)] == []
    refused = ask_as(
        "reads", database,
        "INSERT INTO phonemeter.ledger (kind) VALUES ('charge')",
        "SELECT count() FROM phonemeter.delivery_states",
        "SELECT count() FROM phonemeter.rejections",
        file="accounts.xml",
    )  # fmt: skip
    assert ["ACCESS_DENIED" in answer for answer in refused] == [True, True, True]
