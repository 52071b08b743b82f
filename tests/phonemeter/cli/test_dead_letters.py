"""`phonemeter dead-letters` on the real broker."""

import json
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from kafka import KafkaProducer

from metering.topics import EVENTS
from phonemeter.stack.stack import Stack
from tests.conftest import RunningKafka
from tests.phonemeter.cli.calling import Done, called
from tests.phonemeter.dead_letters.letters import APP, PHONE, bury, encoded, tap
from tests.streams.worker_process import ledger
from tests.waiting import blocking_until

pytestmark = pytest.mark.stack

Run = Callable[..., Done]


@pytest.fixture
def run(
    topics: RunningKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """`phonemeter dead-letters ...` on the session's broker, in this process."""
    return partial(called, monkeypatch, capsys, tmp_path, topics.bootstrap, "dead-letters")


def test_letters_are_listed_once_newest_last_and_chosen(topics: RunningKafka, run: Run) -> None:
    assert run("list").stdout == "0 dead letters.\n"
    first, second, third = bury(
        topics.bootstrap,
        [
            (APP.encode(), b"{"),
            (b"wxother", encoded(tap("tap-2"))),
            (APP.encode(), encoded(tap("tap-3", client=PHONE))),
        ],
    )
    told = json.loads(run("list", "--json").stdout)
    assert (told["total"], told["reasons"]) == (3, {"not_json": 1, "key_mismatch": 1, "phone_number": 1})
    assert [one["identity"] for one in told["letters"]] == [str(first), str(second), str(third)]

    shown = run("list", "--limit", 1)
    assert shown.returncode == 0, shown.stderr
    assert f"\n{third.short} " in shown.stdout
    assert f"\n{first.short} " not in shown.stdout
    assert "3 dead letters, the newest 1 shown" in shown.stdout
    assert PHONE not in shown.stdout

    assert json.loads(run("list", "--json", "--key", "wxother").stdout)["total"] == 1
    assert json.loads(run("list", "--json", "--reason", "not_json").stdout)["total"] == 1
    assert json.loads(run("list", "--json", "--since", "2049-01-01T00:00:00Z").stdout)["total"] == 0


def test_names_are_listed_whole_on_a_narrow_terminal(topics: RunningKafka, run: Run) -> None:
    appid = f"wx{'0123456789abcdef' * 3}"
    event = tap(subject=appid)
    (name,) = bury(topics.bootstrap, [(b"wxother", encoded(event))])
    (told,) = json.loads(run("list", "--json").stdout)["letters"]
    listed = run("list", COLUMNS="80", FORCE_COLOR="1").stdout.splitlines()[1]
    assert listed.split()[:5:4] == [name.short, told["app"]]
    assert appid in listed
    assert listed.endswith(f" key_mismatch {told['app']} {told['sentence']}")


def test_a_letter_is_retried_once_and_the_log_remembers_it(topics: RunningKafka, run: Run) -> None:
    (name,) = bury(topics.bootstrap, [(APP.encode(), encoded(tap(client=PHONE)))])
    shown = run("show", name)
    assert shown.returncode == 0, shown.stderr
    assert "digits masked" in shown.stdout
    assert "fixed:  not that the log knows" in shown.stdout
    assert PHONE not in shown.stdout

    refused = run("retry", name)
    assert (refused.returncode, PHONE in refused.stderr) == (1, False)
    assert "data.client looks like a phone number" in refused.stderr

    published = run("retry", name, "--set", "data.client=e7d524b842e625e2")
    assert published.returncode == 0, published.stderr
    event = published.stdout.partition("published as ")[2].split()[0]

    again = run("retry", name, "--set", "data.client=e7d524b842e625e2")
    assert again.returncode == 1
    assert f"It was retried as {event}. --again publishes it once more." in again.stderr
    assert json.loads(run("show", name, "--json").stdout)["fixed"]["event"] == event

    assert run("retry", name, "--unset", "data.client", "--again").returncode == 0


def test_all_letters_of_a_reason_are_retried_and_a_second_run_does_nothing(
    topics: RunningKafka, run: Run
) -> None:
    names = bury(topics.bootstrap, [(b"wxother", encoded(tap(f"tap-{number}"))) for number in range(3)])
    (broken,) = bury(topics.bootstrap, [(APP.encode(), b"{")])
    done = run("retry", "--all", "--reason", "key_mismatch", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["asked"], told["published"]) == (3, 3)
    assert [one["identity"] for one in told["letters"]] == list(map(str, names))

    done = run("retry", "--all")
    assert done.returncode == 1
    assert f"{broken}: refused: An event is a JSON object" in done.stderr
    assert "4 dead letters: 3 fixed already, 1 refused." in done.stdout


def test_an_event_that_its_producer_sent_again_counts_as_fixed(topics: RunningKafka, run: Run) -> None:
    name, later = bury(topics.bootstrap, [(b"wxother", encoded(tap())), (APP.encode(), encoded(tap()))])
    refused = run("retry", name)
    assert refused.returncode == 1
    assert f"Its producer has sent the event again as {later}." in refused.stderr


def test_an_edited_event_takes_the_letters_place(topics: RunningKafka, run: Run, tmp_path: Path) -> None:
    broken = encoded(tap())[:-1]
    (name,) = bury(topics.bootstrap, [(APP.encode(), broken)])
    assert run("show", name, "--save", "event.json").returncode == 0
    assert (tmp_path / "event.json").read_bytes() == broken
    (tmp_path / "event.json").write_bytes(broken + b"}")
    published = run("retry", name, "--edit", "event.json")
    assert published.returncode == 0, published.stderr
    assert "1 dead letter: 1 published." in published.stdout


def test_wrong_use_and_unknown_letters_are_one_sentence(run: Run) -> None:
    for arguments, status, told in [
        (("show", "2-417"), 1, "There is no dead letter phone-events-2-417"),
        (("show", "9-1"), 1, "There is no dead letter phone-events-9-1"),
        (("show", "what"), 2, "does not name a dead letter"),
        (("retry",), 2, "Say which letters to retry"),
        (("retry", "2-1", "--reason", "not_json"), 2, "they do not go with names"),
        (("retry", "--all", "--edit", "x"), 2, "the name of one letter"),
        (("retry", "2-1", "--edit", "x", "--set", "a=1"), 2, "--edit gives the whole event"),
        (("retry", "2-1", "--edit", "missing"), 2, "missing can't be read"),
        (("list", "--reason", "json"), 2, "--reason: 'json' is no reason; there are too_large, not_utf8"),
        (("list", "--since", "yesterday"), 2, "--since: 'yesterday' is not a time"),
    ]:
        refused = run(*arguments)
        assert (refused.returncode, refused.stderr.count("\n")) == (status, 1), refused.stderr
        assert told in refused.stderr


def test_a_broker_that_is_away_is_one_sentence(
    tmp_path: Path,
    free_port: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    away = f"127.0.0.1:{free_port()}"
    for arguments in (("list",), ("show", "2-417"), ("retry", "2-417")):
        refused = called(monkeypatch, capsys, tmp_path, away, "dead-letters", *arguments)
        assert (refused.returncode, refused.stderr.count("\n")) == (1, 1), refused.stderr
        assert f"Kafka at {away} does not answer" in refused.stderr


def test_a_letter_of_the_worker_is_charged_once_it_was_put_back(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kafka, appid = stack.settings.kafka, "wxdeadletter"
    call = partial(called, monkeypatch, capsys, tmp_path, kafka, "dead-letters")
    producer = KafkaProducer(bootstrap_servers=kafka)
    event = encoded(tap("tap-9", appid, capability="slow"))
    stored = producer.send(EVENTS, key=appid.encode(), value=event).get(10)
    producer.close()
    name = f"{EVENTS}-{stored.partition}-{stored.offset}"
    blocking_until(lambda: name in call("list", "--app", appid, "--json").stdout, 30)

    assert call("retry", name, "--set", "data.capability=quick").returncode == 0
    assert call("retry", name, "--set", "data.capability=quick", "--again").returncode == 0

    def outcomes() -> Counter[str]:
        return Counter(entry.kind for entry in ledger(kafka).values() if entry.event_id == "tap-9")

    blocking_until(lambda: outcomes() == {"trial_charge": 1, "duplicate": 1}, 30)
