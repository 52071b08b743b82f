"""`phonemeter explain` on the real stack: one event of every kind."""

import json
import secrets
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer

from metering.placement import partition_of
from metering.times import format_time
from metering.topics import EVENTS
from phonemeter.stack.stack import Stack
from producers.events import event_id
from tests.metering.building import at, event, purchased, succeeded
from tests.phonemeter.audit.parts import settled
from tests.phonemeter.cli.calling import Phonemeter
from tests.waiting import WITHIN_S


@pytest.fixture(scope="module")
def app(stack: Stack) -> str:
    """An app whose trial is used up, with a pack, a duplicate, an uncovered call taken over, a rejection."""
    app = f"wx{secrets.token_hex(8)}"

    def tap(name: str, days: float) -> bytes:
        return succeeded(at(days), app=app, event_id=f"{app}-{name}", scene="card_claim")

    values = [
        *(tap(f"trial-{n}", 1) for n in range(1_000)),
        tap("taken-over", 2),
        tap("uncovered", 4),
        purchased(at(5), "p1", calls=3, price=90_000, paid_at=at(5), app=app),
        purchased(at(5), "p0", calls=1, price=30_000, paid_at=at(1.5), days=2, app=app),
        succeeded(at(5.5), app=app, event_id=event_id(app, "a-code"), scene="card_claim"),
        tap("charged", 6),
        tap("charged", 6.5),
        tap("rejected", 6).replace(b'"quick"', b'"slow"'),
    ]
    published(stack, app, values)
    return app


def published(stack: Stack, app: str, values: list[bytes]) -> None:
    """Publish an app's events in their order, and wait until they are metered and stored."""
    producer = KafkaProducer(bootstrap_servers=stack.settings.kafka, acks="all")
    partition = partition_of(app.encode(), stack.settings.partitions)
    for value in values:
        producer.send(EVENTS, key=app.encode(), value=value, partition=partition)
    producer.flush()
    producer.close()
    settled(stack.settings)


def explained(phonemeter: Phonemeter, stack: Stack, tmp_path: Path, *arguments: str) -> dict[str, Any]:
    shown = phonemeter("explain", *arguments, "--json", cwd=tmp_path, **stack.settings.to_environ())
    assert shown.returncode == 0, shown.stderr
    told: dict[str, Any] = json.loads(shown.stdout)
    assert told["stored"] == told["published"]
    assert told["published"] != []
    return told


def test_a_charged_event_and_its_duplicate(
    phonemeter: Phonemeter, stack: Stack, app: str, tmp_path: Path
) -> None:
    told = explained(phonemeter, stack, tmp_path, f"{app}-charged", "--app", app)
    first, again = told["occurrences"]
    assert (first["explanation"]["decision"], first["explanation"]["pack_id"]) == ("charge", "p1")
    assert first["explanation"]["considered"][0] == {
        "pack_id": "p1",
        "calls": 3,
        "remaining": 2,
        "starts_at": format_time(at(5)),
        "expires_at": format_time(at(95)),
        "verdict": "taken",
    }
    assert [first["explanation"][when]["calls_left"] for when in ("before", "after")] == [2, 1]
    assert again["explanation"]["decision"] == "duplicate"
    assert again["duplicate_of"] == first["explanation"]["offset"]
    assert [line["kind"] for line in told["published"]][:1] == ["charge"]


def test_what_is_left_is_shown_where_a_line_tells_it(
    phonemeter: Phonemeter, stack: Stack, app: str, tmp_path: Path
) -> None:
    told = phonemeter("explain", f"{app}-charged", "--app", app, cwd=tmp_path, **stack.settings.to_environ())
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in told.stdout.splitlines()]
    left = {row[1]: row[5] for row in rows if len(row) == 8}
    assert (left["charge"], left["duplicate"]) == ("1", "")


def test_an_event_is_found_by_its_id_and_by_the_digits_of_it_that_clickhouse_has(
    phonemeter: Phonemeter, stack: Stack, app: str, tmp_path: Path
) -> None:
    whole = event_id(app, "a-code")
    told = explained(phonemeter, stack, tmp_path, whole)
    assert told["appid"] == app
    assert told["event_id"] == whole
    assert explained(phonemeter, stack, tmp_path, whole[:16]) == told


def test_a_trial_call_without_naming_the_app(
    phonemeter: Phonemeter, stack: Stack, app: str, tmp_path: Path
) -> None:
    told = explained(phonemeter, stack, tmp_path, f"{app}-trial-7")
    (one,) = told["occurrences"]
    assert (told["appid"], one["explanation"]["decision"]) == (app, "trial_charge")
    assert one["explanation"]["before"]["trial"] == 993


def test_an_uncovered_call_says_why(phonemeter: Phonemeter, stack: Stack, app: str, tmp_path: Path) -> None:
    told = explained(phonemeter, stack, tmp_path, f"{app}-uncovered")
    (one,) = told["occurrences"]
    assert (one["explanation"]["decision"], one["explanation"]["reason"]) == ("uncovered", "no_pack")
    assert told["takeovers"] == []


def test_a_call_that_was_taken_over_later(
    phonemeter: Phonemeter, stack: Stack, app: str, tmp_path: Path
) -> None:
    told = explained(phonemeter, stack, tmp_path, f"{app}-taken-over")
    (one,) = told["occurrences"]
    assert one["explanation"]["decision"] == "uncovered"
    (takeover,) = told["takeovers"]
    assert takeover["pack_id"] == "p0"
    assert [(line["kind"], line["calls"]) for line in told["published"]] == [
        ("uncovered", 1),
        ("alert", 0),
        ("uncovered", -1),
        ("charge", 1),
    ]


def test_a_record_that_also_makes_its_app_unsettled_is_explained_once(
    phonemeter: Phonemeter, stack: Stack, tmp_path: Path
) -> None:
    app = f"wx{secrets.token_hex(8)}"
    owner = {"name": "A city", "entity_type": "government", "category": ""}
    late = event("account.registered", at(1), owner, app=app, id=f"{app}-late")
    published(stack, app, [succeeded(at(2), app=app), late])
    told = explained(phonemeter, stack, tmp_path, f"{app}-late", "--app", app)
    assert [line["kind"] for line in told["published"]] == ["registration", "unsettled"]
    (only,) = told["occurrences"]
    assert only["explanation"]["decision"] == "registration"


def test_a_rejected_event_is_found_by_the_id_that_it_claims(
    phonemeter: Phonemeter, stack: Stack, app: str, tmp_path: Path
) -> None:
    told = explained(phonemeter, stack, tmp_path, f"{app}-rejected", "--app", app)
    (one,) = told["occurrences"]
    assert (one["explanation"]["decision"], one["explanation"]["reason"]) == ("rejection", "invalid_field")
    assert [line["kind"] for line in told["published"]] == ["rejection"]


def test_people_read_why_and_see_the_lines(
    phonemeter: Phonemeter, stack: Stack, app: str, tmp_path: Path
) -> None:
    shown = phonemeter("explain", f"{app}-charged", cwd=tmp_path, **stack.settings.to_environ())
    assert shown.returncode == 0, shown.stderr
    assert f"of app {app}, partition" in shown.stdout
    assert "Pack p1 took the call" in shown.stdout
    assert "took the call" in shown.stdout
    assert "balance of quick: 2 calls before (0 trial), 1 after (0 trial)" in shown.stdout
    assert "the same" in shown.stdout


def test_an_unknown_event_is_one_sentence_and_status_1(
    phonemeter: Phonemeter, stack: Stack, app: str, tmp_path: Path
) -> None:
    shown = phonemeter("explain", "no-such-event", "--app", app, cwd=tmp_path, **stack.settings.to_environ())
    assert (shown.returncode, shown.stdout, shown.stderr.count("\n")) == (1, "", 1)
    assert f"No event no-such-event of app {app} is in phone-events" in shown.stderr


def test_an_event_in_a_wrong_partition_is_found_and_told_so(
    phonemeter: Phonemeter, stack: Stack, tmp_path: Path
) -> None:
    app = f"wx{secrets.token_hex(8)}"
    away = (partition_of(app.encode(), stack.settings.partitions) + 1) % stack.settings.partitions
    producer = KafkaProducer(bootstrap_servers=stack.settings.kafka, acks="all")
    tap = succeeded(at(1), app=app, event_id=f"{app}-tap")
    producer.send(EVENTS, key=app.encode(), value=tap, partition=away).get(WITHIN_S)
    producer.close()
    settled(stack.settings)
    told = explained(phonemeter, stack, tmp_path, f"{app}-tap", "--app", app)
    (occurrence,) = told["occurrences"]
    assert (told["partition"], occurrence["explanation"]["reason"]) == (away, "wrong_partition")
