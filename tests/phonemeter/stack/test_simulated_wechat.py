"""The stack with a stand-in for WeChat: what is bought and counted there arrives, and no pack twice."""

import json
import os
import signal
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from phonemeter.clickhouse import ledger_client
from phonemeter.settings import Settings
from phonemeter.stack.health import examine
from phonemeter.stack.simulated_wechat import with_simulated_wechat
from phonemeter.stack.stack import Stack
from producers.client import EventProducer
from producers.events import pack_purchased
from producers.wechat_sim.demo import AUTHORIZED_APP, FIRST_PACKS, OWN_APP
from sinks.connection import rows
from tests.real_parts import starts_real_parts
from tests.waiting import blocking_until


@pytest.fixture
@starts_real_parts
def running(stack_settings: Settings) -> Iterator[Stack]:
    """A stack of the test's own, which reads its stand-in every second."""
    with Stack(with_simulated_wechat(stack_settings.replaced(wechat_poll_interval_s=1))) as stack:
        yield stack


def queried(stack: Stack, query: str) -> list[tuple[Any, ...]]:
    with ledger_client(stack.settings.clickhouse) as client:
        return rows(client, query)


def told(stack: Stack, path: str, **given: object) -> Any:  # noqa: ANN401 - JSON
    """Tell the stand-in something, and return its answer."""
    request = urllib.request.Request(  # noqa: S310 - the test's own server
        f"{stack.endpoints.wechat_sim}/sim/{path}", json.dumps(given).encode()
    )
    with urllib.request.urlopen(request, timeout=30) as reply:  # noqa: S310 - the same
        return json.loads(reply.read())


ORDERS = "SELECT appid, pack_id, price_micro_yuan, price_basis FROM orders ORDER BY appid, pack_id"
COUNTS = (
    "SELECT pack_id, argMax(platform_usage.used, observed_at) FROM platform_usage "  # noqa: S608 - a constant
    f"WHERE appid = '{OWN_APP}' GROUP BY pack_id ORDER BY pack_id"
)
PURCHASES = (
    "SELECT countIf(kind = 'purchase'), countIf(kind IN ('duplicate', 'purchase_refused')) FROM ledger"
)


def test_packs_and_counts_come_from_wechat_and_a_pack_that_was_typed_in_is_not_bought_again(
    running: Stack,
) -> None:
    first = FIRST_PACKS[OWN_APP]
    expected = [
        (OWN_APP, first, 7_500_000, "catalogue"),
        (AUTHORIZED_APP, FIRST_PACKS[AUTHORIZED_APP], 7_500_000, "catalogue"),
    ]
    blocking_until(lambda: queried(running, ORDERS) == expected)

    now = datetime.now(UTC)
    with EventProducer(running.settings) as producer:
        producer.publish(
            pack_purchased(
                appid=OWN_APP,
                pack_id="typed-in",
                capability="quick",
                calls=1_000,
                validity_days=365,
                price_micro_yuan=29_000_000,
                paid_at=now,
            )
        )
    blocking_until(lambda: len(queried(running, ORDERS)) == 3)
    told(running, "buy", calls=1_000, days=365)
    told(running, "use", calls=1_003)
    assert told(running, "push", kind="quota") == {"status": 200, "text": "success"}
    seen = [("", 1_000), (first, 3), ("typed-in", 0)]
    blocking_until(lambda: queried(running, COUNTS) == seen)

    # No call was published, so that what WeChat counts was used before this log (rule 16).
    assert queried(running, f"SELECT used_before FROM packs WHERE pack_id = '{first}'") == [(3,)]  # noqa: S608 - ours
    short = told(running, "buy", calls=77, days=30)["pkgId"]
    blocking_until(lambda: len(queried(running, ORDERS)) == 4)
    assert queried(running, ORDERS)[1][2:] == (0, "unknown")

    # What a service that is started again has forgotten, the ledger knows.
    before = running.pid("wechat")
    assert before is not None
    os.kill(before, signal.SIGKILL)
    blocking_until(lambda: running.pid("wechat") not in {None, before})
    blocking_until(lambda: examine(running.settings).wechat == "healthy")
    told(running, "use", calls=7)
    # It expires first.
    blocking_until(lambda: (short, 7) in queried(running, COUNTS))
    assert queried(running, PURCHASES) == [(4, 0)]
