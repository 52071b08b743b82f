"""Alerts as the console has them: acknowledged in both databases and in the notifier's log, by one author."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dashboards.console.errors import RecordsUnavailableError, RefusedChangeError
from dashboards.console.members import Actor
from kafka_access.access import KafkaAccess
from metering.topics import DELIVERIES
from phonemeter.business.console_alerts import ConsoleAlerts
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.members import BusinessMembers
from phonemeter.business.owners import OwnerStore
from phonemeter.cli.alerts_log import read_deliveries
from phonemeter.kafka_admin import partition_count
from phonemeter.topic_reader import open_reader
from tests.conftest import RunningKafka

APP = "wx8ff4154a2448e576"
OTHER = "wx00000000000000aa"


@pytest.fixture
def database(url: str) -> Iterator[BusinessDatabase]:
    with BusinessDatabase(url) as opened:
        OwnerStore(opened).add("Coffee Ltd", [APP])
        OwnerStore(opened).add("Tea Ltd", [OTHER])
        yield opened


def actor_of(database: BusinessDatabase, name: str, who: str = "li@coffee.example") -> Actor:
    owners = OwnerStore(database).every_owner()
    return Actor(who, next(one.owner_id for one in owners if one.name == name))


def test_the_first_acknowledgement_stays_and_is_in_every_partition_of_the_notifiers_log(
    database: BusinessDatabase, topics: RunningKafka
) -> None:
    alerts = ConsoleAlerts(database, KafkaAccess(topics.bootstrap), None)
    actor = actor_of(database, "Coffee Ltd")
    alerts.acknowledge(actor, APP, "0-71-0")
    alerts.acknowledge(actor._replace(who="wang@coffee.example"), APP, "0-71-0")
    found = alerts.acknowledgements(["0-71-0", "0-72-0"])
    assert {alert_id: one.who for alert_id, one in found.items()} == {"0-71-0": "li@coffee.example"}
    with open_reader(KafkaAccess(topics.bootstrap)) as reader:
        log = read_deliveries(reader)
    acknowledged = [one.acknowledgements["0-71-0"].by for one in log.partitions.values()]
    assert acknowledged == ["li@coffee.example"] * partition_count(KafkaAccess(topics.bootstrap), DELIVERIES)
    trail = BusinessMembers(database).audit_trail(actor.owner_id)
    assert [(one.who, one.subject) for one in trail if one.what == "alert_acknowledged"] == [
        ("li@coffee.example", f"0-71-0 {APP}")
    ]


def test_an_app_of_another_owner_is_not_there(database: BusinessDatabase, topics: RunningKafka) -> None:
    alerts = ConsoleAlerts(database, KafkaAccess(topics.bootstrap), None)
    with pytest.raises(RefusedChangeError, match="not_there"):
        alerts.acknowledge(actor_of(database, "Tea Ltd"), APP, "0-73-0")
    assert alerts.acknowledgements(["0-73-0"]) == {}


def test_without_kafka_nothing_is_acknowledged_anywhere(database: BusinessDatabase) -> None:
    alerts = ConsoleAlerts(database, KafkaAccess("127.0.0.1:9"), None)
    actor = actor_of(database, "Coffee Ltd")
    with pytest.raises(RecordsUnavailableError):
        alerts.acknowledge(actor, APP, "0-74-0")
    assert alerts.acknowledgements(["0-74-0"]) == {}
    trail = BusinessMembers(database).audit_trail(actor.owner_id)
    assert "alert_acknowledged" not in {one.what for one in trail}


def test_two_members_at_once_leave_one_acknowledgement(
    database: BusinessDatabase, topics: RunningKafka
) -> None:
    alerts = ConsoleAlerts(database, KafkaAccess(topics.bootstrap), None)
    failed: list[Exception] = []

    def acknowledge(who: str) -> None:
        try:
            alerts.acknowledge(actor_of(database, "Coffee Ltd", who), APP, "0-75-0")
        except RecordsUnavailableError as error:
            failed.append(error)

    threads = [
        threading.Thread(target=acknowledge, args=(f"m{number}@coffee.example",)) for number in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    trail = BusinessMembers(database).audit_trail(actor_of(database, "Coffee Ltd").owner_id)
    authors = [one.who for one in trail if one.what == "alert_acknowledged"]
    assert authors == [alerts.acknowledgements(["0-75-0"])["0-75-0"].who]


def test_routes_that_cannot_be_read_here_are_told_as_none(database: BusinessDatabase, tmp_path: Path) -> None:
    file = tmp_path / "routes.toml"
    file.write_text('[routes.all]\nchannel = "wecom"\nurl = "env:NOT_SET_HERE"\n')
    for path in (file, tmp_path / "none.toml", None):
        assert ConsoleAlerts(database, KafkaAccess("127.0.0.1:9"), path).routes([APP]) is None
