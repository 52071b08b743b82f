"""The keeper with a real broker and engine: servers that are away, logs that are created anew."""

from collections.abc import Iterator

import pytest

from dashboards.views import statements
from sinks import migrations
from sinks.balances.keeper import BalanceKeeper
from sinks.connection import connect
from tests.conftest import RunningEngine, RunningKafka, emptied
from tests.sinks.balances.parts import keeping
from tests.sinks.parts import START_MS, Publisher, purchase
from tests.waiting import blocking_until

DATABASE = "balances_of_a_keeper"


@pytest.fixture
def clickhouse(engine: RunningEngine) -> Iterator[str]:
    """A database that is not there yet."""
    with connect(engine.url()) as client:
        client.execute(f"DROP DATABASE IF EXISTS {DATABASE}")
    yield engine.url(DATABASE)
    with connect(engine.url()) as client:
        client.execute(f"DROP DATABASE IF EXISTS {DATABASE}")


def left(keeper: BalanceKeeper, appid: str) -> int | None:
    """The calls left of an app; None while nothing is known."""
    balance = keeper.memory.balance(appid, "quick") if keeper.memory else None
    return None if balance is None else balance.ledger_left_at(START_MS)


def test_a_keeper_waits_for_its_servers_follows_the_ledger_and_begins_again_with_another_log(
    undivided_topics: RunningKafka, clickhouse: str
) -> None:
    kafka = undivided_topics
    with keeping(kafka.bootstrap, clickhouse) as keeper:
        blocking_until(
            lambda: "can't be read" in keeper.trouble, what="that ClickHouse has no ledger is said"
        )
        assert keeper.memory is None
        migrations.migrate(clickhouse)
        with connect(clickhouse) as client:
            for statement in statements():
                client.execute(statement)
        with Publisher(kafka.bootstrap) as publisher:
            publisher.publish(0, [purchase("wx1", "P", 0)])
            blocking_until(lambda: left(keeper, "wx1") == 250, what="the entry is in the balance")
            publisher.publish(0, [purchase("wx1", "Q", 1), purchase("wx2", "R", 2)], cut=1)
            blocking_until(lambda: left(keeper, "wx2") == 250, what="so are those that follow")
            assert left(keeper, "wx1") == 500
        blocking_until(lambda: not keeper.troubles(), what="nothing is wrong")
        emptied(kafka, 1)
        blocking_until(lambda: left(keeper, "wx1") is None, what="the balances of the other log are gone")
        with Publisher(kafka.bootstrap) as publisher:
            publisher.publish(0, [purchase("wx3", "P", 0)])
            blocking_until(lambda: left(keeper, "wx3") == 250, what="those of this one are there")
            assert left(keeper, "wx1") is None
            publisher.publish_raw(0, b"no ledger record")
            blocking_until(lambda: bool(keeper.troubles()), what="a damaged ledger is said")
        assert "is not read on from record 1" in " ".join(keeper.troubles())
        assert left(keeper, "wx3") == 250
