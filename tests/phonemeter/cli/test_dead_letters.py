"""`phonemeter dead-letters` on the real broker."""

import json
from collections import Counter
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest
from kafka import KafkaProducer, TopicPartition

from kafka_access.access import KafkaAccess
from metering.ledger import Entry
from metering.rules import Rules
from metering.topics import EVENTS
from phonemeter.dead_letters.letter_log import parse_letter_id
from phonemeter.kafka_admin import admin
from phonemeter.stack.stack import Stack
from tests.conftest import RunningEngine, RunningKafka
from tests.phonemeter.cli.calling import Done, called
from tests.phonemeter.cli.storing import stored
from tests.phonemeter.dead_letters.letters import (
    APP,
    AWAY,
    HOME,
    PHONE,
    bury,
    encoded,
    in_binary_mode,
    tap,
)
from tests.streams.worker_process import ledger
from tests.waiting import WITHIN_S, blocking_until

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
    listed = run("list", COLUMNS="80", FORCE_COLOR="1").stdout.splitlines()
    assert listed[0].endswith(f"letter {name.short}")
    assert any(f"app {appid}" in line for line in listed)
    assert told["sentence"] in " ".join(line.strip() for line in listed)


def test_a_letter_is_retried_once_and_the_log_remembers_it(topics: RunningKafka, run: Run) -> None:
    (name,) = bury(topics.bootstrap, [(APP.encode(), encoded(tap(client=PHONE)))])
    shown = run("show", name)
    assert shown.returncode == 0, shown.stderr
    assert "digits masked" in shown.stdout
    assert "fixed:  no\n" in shown.stdout
    assert PHONE not in shown.stdout

    refused = run("retry", name)
    assert (refused.returncode, PHONE in refused.stderr) == (1, False)
    assert "data.client holds what looks like a phone number" in refused.stderr

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


def test_an_app_that_was_split_is_put_together_with_one_command(topics: RunningKafka, run: Run) -> None:
    """The taps come from two back ends: one with the partitioner of librdkafka, and repeated by the other."""
    taps = [(APP.encode(), encoded(tap(f"tap-{number}"))) for number in range(3)]
    bury(topics.bootstrap, taps[:1])
    names = bury(topics.bootstrap, taps, AWAY)
    told = json.loads(run("list", "--json").stdout)
    assert told["reasons"] == {"wrong_partition": 3}
    shown = run("show", names[0])
    assert f"belongs to {HOME} of 4" in shown.stdout
    assert "retry publishes it to the partition of its key" in shown.stdout

    done = run("retry", "--all", "--reason", "wrong_partition", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["asked"], told["published"]) == (3, 3)
    assert {parse_letter_id(one["published_as"]).partition for one in told["letters"]} == {HOME}
    again = json.loads(run("retry", "--all", "--reason", "wrong_partition", "--json").stdout)
    assert (again["asked"], again["fixed_already"]) == (3, 3)


def test_a_letter_in_binary_mode_is_shown_with_its_headers_retried_and_known_as_fixed(
    topics: RunningKafka, run: Run
) -> None:
    value, headers = in_binary_mode(tap(capability="slow"))
    (name,) = bury(topics.bootstrap, [(APP.encode(), value)], headers=headers)
    (listed,) = json.loads(run("list", "--json", "--app", APP).stdout)["letters"]
    assert (listed["identity"], listed["reason"]) == (str(name), "invalid_field")
    shown = run("show", name).stdout
    assert "header: ce_type: phone.authorization.succeeded\n" in shown
    assert "retry --set data.capability=VALUE" in shown

    published = run("retry", name, "--set", "data.capability=quick")
    assert published.returncode == 0, published.stderr
    event = published.stdout.partition("published as ")[2].split()[0]
    again = run("retry", name, "--set", "data.capability=quick")
    assert f"It was retried as {event}." in again.stderr


def test_an_event_sent_again_in_binary_mode_counts_as_fixed(topics: RunningKafka, run: Run) -> None:
    value, headers = in_binary_mode(tap("tap-1", capability="slow"))
    (name,) = bury(topics.bootstrap, [(APP.encode(), value)], headers=headers)
    value, headers = in_binary_mode(tap("tap-1"))
    (later,) = bury(topics.bootstrap, [(APP.encode(), value)], headers=headers)
    fixed = json.loads(run("show", name, "--json").stdout)["fixed"]
    assert (fixed["how"], fixed["event"]) == ("sent again", str(later))


def test_a_letter_with_a_doubled_key_is_retried_only_as_an_event_written_anew(
    topics: RunningKafka, run: Run, tmp_path: Path
) -> None:
    doubled = encoded(tap())[:-1] + b',"id":"tap-2"}'
    (name,) = bury(topics.bootstrap, [(APP.encode(), doubled)])
    refused = run("retry", name, "--set", "id=tap-2")
    assert refused.returncode == 1
    assert "The key 'id' occurs twice: write the event again (--edit FILE)." in refused.stderr
    assert run("show", name, "--save", "event.json").returncode == 0
    assert (tmp_path / "event.json").read_bytes() == doubled
    (tmp_path / "event.json").write_bytes(encoded(tap("tap-2")))
    assert run("retry", name, "--edit", "event.json").returncode == 0
    fixed = json.loads(run("show", name, "--json").stdout)["fixed"]
    assert fixed["how"] == "retried"


def test_a_copy_in_a_wrong_partition_is_no_fix(topics: RunningKafka, run: Run) -> None:
    (name,) = bury(topics.bootstrap, [(b"wxother", encoded(tap()))])
    bury(topics.bootstrap, [(APP.encode(), encoded(tap()))], AWAY)
    assert run("retry", name).returncode == 0


def test_an_edited_event_takes_the_letters_place(topics: RunningKafka, run: Run, tmp_path: Path) -> None:
    broken = encoded(tap())[:-1]
    (name,) = bury(topics.bootstrap, [(APP.encode(), broken)])
    assert run("show", name, "--save", "event.json").returncode == 0
    assert (tmp_path / "event.json").read_bytes() == broken
    (tmp_path / "event.json").write_bytes(broken + b"}")
    published = run("retry", name, "--edit", "event.json")
    assert published.returncode == 0, published.stderr
    assert "1 dead letter: 1 published." in published.stdout


def test_a_letter_that_was_cut_is_retried_from_its_record_and_refused_once_that_is_gone(
    topics: RunningKafka, run: Run, tmp_path: Path
) -> None:
    large = encoded(tap() | {"debug": "x" * 200_000})
    (name,) = bury(topics.bootstrap, [(APP.encode(), large)])
    shown = run("show", name, "--save", "event.json")
    assert f"keeps 65,536 of {len(large):,} bytes (SHA-256 {sha256(large).hexdigest()})" in shown.stdout
    assert (tmp_path / "event.json").read_bytes() == large
    assert "larger than 65536 bytes" in run("retry", name).stderr
    published = run("retry", name, "--unset", "debug")
    assert published.returncode == 0, published.stderr

    with admin(KafkaAccess(topics.bootstrap)) as client:
        client.delete_records({TopicPartition(EVENTS, name.partition): name.offset + 1})
    gone = run("retry", name, "--unset", "debug", "--again")
    assert gone.returncode == 1
    assert f"{name} does not hold its record any more: give the whole event with --edit FILE" in gone.stderr
    (tmp_path / "event.json").write_bytes(encoded(tap()))
    assert run("retry", name, "--edit", "event.json", "--again").returncode == 0


def test_wrong_use_and_unknown_letters_are_one_sentence(run: Run) -> None:
    for arguments, status, told in [
        (("show", "2-417"), 1, "There is no dead letter phone-events-2-417"),
        (("show", "9-1"), 1, "There is no dead letter phone-events-9-1"),
        (("show", "what"), 2, "does not name a dead letter"),
        (("retry",), 2, "Give the names of the dead letters to retry"),
        (("retry", "2-1", "--reason", "not_json"), 2, "they cannot be combined with names"),
        (("retry", "--all", "--edit", "x"), 2, "the name of one dead letter"),
        (("retry", "2-1", "--edit", "x", "--set", "a=1"), 2, "--edit gives the whole event"),
        (("retry", "2-1", "--edit", "missing"), 2, "missing can't be read"),
        (
            ("list", "--reason", "json"),
            2,
            "--reason: 'json' is not a reason; the reasons are too_large, not_utf8",
        ),
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
    stored = producer.send(EVENTS, key=appid.encode(), value=event).get(WITHIN_S)
    producer.close()
    name = f"{EVENTS}-{stored.partition}-{stored.offset}"
    blocking_until(lambda: name in call("list", "--app", appid, "--json").stdout)

    assert call("retry", name, "--set", "data.capability=quick").returncode == 0
    assert call("retry", name, "--set", "data.capability=quick", "--again").returncode == 0

    def outcomes() -> Counter[str]:
        return Counter(entry.kind for entry in ledger(kafka).values() if entry.event_id == "tap-9")

    blocking_until(lambda: outcomes() == {"trial_charge": 1, "duplicate": 1})


def test_an_event_beyond_the_horizon_is_counted_once_unless_the_ledger_has_it(
    topics: RunningKafka, engine: RunningEngine, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its id was forgotten at once, because the test has no ids remembered."""
    counted, lost = sha256(b"counted").hexdigest(), sha256(b"lost").hexdigest()
    monkeypatch.setattr("metering.remembered_ids.CHUNK_IDS", 1)
    monkeypatch.setattr("tests.phonemeter.dead_letters.letters.RULES", Rules(remembered_ids_max=0))
    later = tap("later") | {"time": "2024-07-01T10:00:00+08:00"}
    _, first, second = bury(
        topics.bootstrap, [(APP.encode(), encoded(event)) for event in (later, tap(counted), tap(lost))]
    )
    url = stored(
        engine.url("beyond_the_horizon"),
        [
            Entry(7, 0, "charge", 1, 1, APP, "quick", counted[:16], 1),
            Entry(9, 0, "duplicate", 1, 1, APP, "quick", lost),
        ],
    )
    done = run("retry", first, second, "--json", PHONEMETER_CLICKHOUSE=url)
    assert done.returncode == 1
    refused, published = json.loads(done.stdout)["letters"]
    assert (refused["identity"], refused["verdict"]) == (str(first), "refused")
    assert "as phone-events-0-7;" in refused["sentence"]
    assert (published["identity"], published["verdict"]) == (str(second), "published")
    again = run("retry", second, "--json", PHONEMETER_CLICKHOUSE=url)
    assert json.loads(again.stdout)["letters"][0]["verdict"] == "fixed already"


def test_an_event_that_is_sent_again_beyond_the_horizon_is_not_fixed_by_that(
    topics: RunningKafka, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metering.remembered_ids.CHUNK_IDS", 1)
    monkeypatch.setattr("tests.phonemeter.dead_letters.letters.RULES", Rules(remembered_ids_max=0))
    later = tap("later") | {"time": "2024-07-01T10:00:00+08:00"}
    _, first, _ = bury(topics.bootstrap, [(APP.encode(), encoded(event)) for event in (later, tap(), tap())])
    assert json.loads(run("show", first, "--json").stdout)["fixed"] is None
