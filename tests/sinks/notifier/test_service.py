"""The notifier as a process, against the real broker and a receiver on loopback."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import RunningKafka
from tests.sinks.notifier.parts import (
    NotifierProcess,
    Receiver,
    alert,
    forget_members,
    publish,
    webhook_routes,
)
from tests.waiting import blocking_until

pytestmark = pytest.mark.stack

Make = Callable[..., NotifierProcess]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
def notifier(topics: RunningKafka, tmp_path: Path, free_port: Callable[[], int], receiver: Receiver) -> Make:
    """Make a notifier whose one route is the receiver."""
    routes = webhook_routes(tmp_path / "routes.toml", receiver.url)

    def make(die: str = "", **settings: str) -> NotifierProcess:
        return NotifierProcess(
            topics.bootstrap, routes, free_port(), tmp_path / "notifier.log", die, settings
        )

    return make


def test_a_chain_goes_on_where_the_notifier_was_killed(
    topics: RunningKafka, notifier: Make, receiver: Receiver
) -> None:
    published = []
    for offset, boundary in enumerate(("asked", "begun", "send", "sent")):
        with notifier(boundary) as dying:
            one = alert(offset, partition=offset % 4)
            published.append(one.id)
            publish(topics.bootstrap, [one])
            blocking_until(dying.ended, within_s=30)
        forget_members(topics.bootstrap)
    with notifier():
        wanted = {f"alert_{one}_hook" for one in published}
        blocking_until(lambda: {request.id for request in receiver.requests} == wanted, within_s=20)
        # The last attempt had arrived and was not recorded: the receiver sees it again, by the same id.
        again = f"alert_{published[-1]}_hook"
        blocking_until(lambda: [one.id for one in receiver.requests].count(again) == 2, within_s=20)
        publish(topics.bootstrap, [alert(99)])
        blocking_until(lambda: any(one.id == "alert_0-99-0_hook" for one in receiver.requests), within_s=20)
    assert Counter(receiver.alert_ids()) == dict.fromkeys(published, 1) | {published[-1]: 2, "0-99-0": 1}
