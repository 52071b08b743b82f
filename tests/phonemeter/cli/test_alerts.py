"""`phonemeter alerts` on the real broker, with a notifier at work."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from metering.topics import ALL
from tests.conftest import RunningKafka
from tests.phonemeter.cli.calling import Done, called
from tests.sinks.notifier.parts import (
    SECRET,
    SECRET_VARIABLE,
    Answer,
    Receiver,
    alert,
    notifier_thread,
    publish,
    webhook_routes,
)
from tests.waiting import blocking_until

Run = Callable[..., Done]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver(lambda _request: Answer(500)) as running:
        yield running


@pytest.fixture
def routes(tmp_path: Path, receiver: Receiver) -> Path:
    return webhook_routes(tmp_path / "routes.toml", receiver.url)


@pytest.fixture
def run(
    topics: RunningKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """`phonemeter alerts ...` on the session's broker, in this process."""
    monkeypatch.setenv(SECRET_VARIABLE, SECRET)
    return partial(called, monkeypatch, capsys, tmp_path, topics.bootstrap, "alerts")


def listed(run: Run, *options: str) -> dict[str, list[dict[str, Any]]]:
    """The deliveries of each listed alert, by its id."""
    done = run("list", "--json", *options)
    assert done.returncode == 0, done.stderr
    return {one["id"]: one["deliveries"] for one in json.loads(done.stdout)["alerts"]}


def state_of(run: Run, alert_id: str) -> str:
    deliveries = listed(run)[alert_id]
    return deliveries[0]["state"] if deliveries else ""


def test_alerts_are_listed_acknowledged_given_up_and_retried(
    topics: RunningKafka,
    run: Run,
    routes: Path,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    free_port: Callable[[], int],
) -> None:
    assert run("list").stdout == "0 alerts.\n"
    with notifier_thread(monkeypatch, topics.bootstrap, routes, free_port(), notifier_retry_first_ms="60000"):
        publish(topics.bootstrap, [alert(1), alert(2, appid="wxother"), alert(3, partition=2)])
        blocking_until(lambda: len(receiver.requests) == 3)
        blocking_until(lambda: state_of(run, "2-3-0") == "waiting")
        assert set(listed(run, "--open")) == {"0-1-0", "0-2-0", "2-3-0"}
        assert set(listed(run, "--app", "wxother")) == {"0-2-0"}
        assert listed(run, "--dead") == {}
        assert "hook: waiting, attempt 1: answered 500" in run("list").stdout

        assert run("ack", "0-1-0", "--by", "Li Lei").stdout == "0-1-0 is acknowledged by Li Lei.\n"
        assert set(listed(run, "--open")) == {"0-2-0", "2-3-0"}
        told = {one["id"]: one for one in json.loads(run("list", "--json").stdout)["alerts"]}
        assert told["0-1-0"]["acknowledged"]["by"] == "Li Lei"
        assert told["0-1-0"]["deliveries"][0]["state"] == "acknowledged"
        unknown = run("ack", "9-9-9")
        assert (unknown.returncode, unknown.stderr) == (
            1,
            "There is no alert '9-9-9'; phonemeter alerts list shows them.\n",
        )

        receiver.answer = lambda _request: Answer(410)
        publish(topics.bootstrap, [alert(4)])
        blocking_until(lambda: state_of(run, "0-4-0") == "dead")
        publish(topics.bootstrap, [alert(5)])
        blocking_until(lambda: state_of(run, "0-5-0") == "dead")
        dead = listed(run, "--dead")
        assert dead["0-4-0"][0]["reason"] == "answered 410"
        assert dead["0-5-0"][0]["reason"] == "the route is disabled: answered 410"
        assert len(receiver.requests) == 4

        receiver.answer = lambda _request: Answer()
        assert run("enable", "hook").stdout == "hook is enabled.\n"
        assert run("enable", "hook")[::2] == (1, "Route 'hook' is not disabled.\n")
        unknown = run("enable", "hok")
        assert unknown.stderr == (
            "There is no route 'hok'; there are: hook, and PHONEMETER_ALERT_ROUTES (alert_routes in "
            "phonemeter.toml) names no file with more.\n"
        )
        assert run("retry", "0-5-0").stdout == "0-5-0 is tried again on hook.\n"
        blocking_until(lambda: state_of(run, "0-5-0") == "delivered")
        assert set(listed(run, "--dead")) == {"0-4-0"}
        again = run("retry", "0-5-0")
        assert again.returncode == 1
        assert again.stderr.startswith("Alert '0-5-0' has no dead delivery;")
    assert receiver.alert_ids().count("0-1-0") == 1


def test_routes_are_checked_and_tested(run: Run, routes: Path, receiver: Receiver) -> None:
    assert run("check").stderr.startswith("No routes file is set; name one, or set PHONEMETER_ALERT_ROUTES")
    checked = run("check", routes)
    assert checked.stdout.endswith("1 route, 0 apps: valid.\n")
    assert receiver.url not in checked.stdout
    refused = run("test", "hook", "--file", routes)
    assert (refused.returncode, refused.stderr) == (
        1,
        "Route hook did not accept the test message: answered 500.\n",
    )
    receiver.answer = lambda _request: Answer()
    assert (
        run("test", "hook", "--file", routes).stdout
        == "Route hook accepted the test message: answered 204.\n"
    )
    assert receiver.verified()[-1]["type"] == "phone.alert.test"
    unknown = run("test", "nobody", "--file", routes)
    assert (unknown.returncode, unknown.stderr) == (1, "The file has no route 'nobody'; it has: hook.\n")


def test_a_route_that_there_is_not_cannot_be_enabled_and_those_of_the_file_are_named(
    topics: RunningKafka, run: Run, routes: Path
) -> None:
    del topics
    file = {"PHONEMETER_ALERT_ROUTES": str(routes)}
    assert run("enable", "hook", **file)[::2] == (1, "Route 'hook' is not disabled.\n")
    assert run("enable", "hok", **file)[::2] == (1, "There is no route 'hok'; there are: hook.\n")
    routes.write_text("[routes")
    broken = run("enable", "hok", **file)
    assert broken.returncode == 1
    assert broken.stderr.startswith("No alert went to a route 'hok', and the routes file can't be read: ")
    assert f"{routes} is not valid TOML" in broken.stderr
    assert broken.stderr.count("\n") == 1


def test_an_alert_that_is_not_there_is_told_from_a_name_that_no_alert_has(run: Run) -> None:
    names_none = "is not the id of an alert, such as 2-417-0; phonemeter alerts list shows the ids.\n"
    for command in ("ack", "retry"):
        assert run(command, "9-9-9")[::2] == (
            1,
            "There is no alert '9-9-9'; phonemeter alerts list shows them.\n",
        )
        assert run(command, "p-1")[::2] == (2, f"'p-1' {names_none}")


def test_a_pack_that_expires_is_listed_with_its_name_and_the_time_in_shanghai(
    topics: RunningKafka, run: Run
) -> None:
    details: dict[str, int | str] = {"days": 7, "expires_at_ms": 1_795_832_478_355}
    publish(topics.bootstrap, [alert(1, reason="expiry", pack_id="p-1", details=details)])
    assert "expiry p-1 days 7 expires 2026-11-28 10:21:18" in run("list").stdout


def test_a_made_secret_can_be_used(run: Run, routes: Path) -> None:
    secret = run("secret").stdout.strip()
    assert run("check", routes, **{SECRET_VARIABLE: secret}).returncode == 0
    assert secret != run("secret").stdout.strip()


def test_deliveries_have_a_topic_that_keeps_the_newest_of_each_key() -> None:
    (topic,) = (one for one in ALL if one.name == "phone-deliveries")
    assert topic.config["cleanup.policy"] == "compact"
