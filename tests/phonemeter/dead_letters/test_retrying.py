"""Letters corrected and published, without a broker."""

import json
from collections.abc import Iterator

import pytest

from metering.dead_letters import DeadLetter
from phonemeter.dead_letters.fixes import Fix
from phonemeter.dead_letters.letters import Identity, Wanted, parse_identity
from phonemeter.dead_letters.retrying import (
    UNCONFIRMED_MAX,
    Correction,
    NotCorrectedError,
    Outcome,
    parse_assignment,
    parse_path,
    retry,
)
from phonemeter.errors import UserError
from producers.client import Place
from producers.errors import DeliveryError, RefusedError, UnavailableError
from producers.events import refusal
from tests.phonemeter.dead_letters.letters import APP, PHONE, encoded, letter, tap

NOW_MS = 1_790_000_000_000


class Sent:
    """A delivery whose outcome is known."""

    def __init__(self, failure: DeliveryError | None = None) -> None:
        self._failure = failure

    def result(self, timeout_s: float | None = None) -> Place:
        del timeout_s
        if self._failure is not None:
            raise self._failure
        return Place(0, 7)


class Kafka:
    """A publisher that checks as the real one does, and keeps what it took."""

    def __init__(self, failure: DeliveryError | None = None) -> None:
        self.taken: list[dict[str, object]] = []
        self._failure = failure

    def publish(self, event: bytes) -> Sent:
        rejection = refusal(event, now_ms=NOW_MS)
        if rejection is not None:
            raise RefusedError(rejection)
        self.taken.append(json.loads(event))
        return Sent(self._failure)


def outcomes(
    letters: Iterator[DeadLetter] | list[DeadLetter],
    correction: Correction = Correction(),  # noqa: B008 - it is frozen
    kafka: Kafka | None = None,
    fixes: dict[Identity, Fix] | None = None,
) -> list[Outcome]:
    told: list[Outcome] = []
    retry(letters, correction, kafka or Kafka(), fixes or {}, told.append)
    return told


def test_a_letter_whose_key_was_wrong_is_published_as_it_is_with_its_name() -> None:
    kafka = Kafka()
    (told,) = outcomes([letter(encoded(tap()), b"other")], kafka=kafka)
    assert told == Outcome(Identity(2, 417), "published", Place(0, 7), "")
    assert kafka.taken == [tap() | {"deadletter": "phone-events-2-417"}]


def test_what_is_still_wrong_is_refused_with_its_sentence_and_not_sent() -> None:
    kafka = Kafka()
    (told,) = outcomes([letter(encoded(tap(capability="slow")))], kafka=kafka)
    assert told.verdict == "refused"
    assert "slow" in told.sentence
    assert kafka.taken == []


def test_fields_are_set_and_unset_at_their_paths() -> None:
    kafka = Kafka()
    spoiled = tap(capability="slow", mobile=PHONE) | {"time": "1970-01-01T00:00:00Z"}
    correction = Correction(
        set_fields=(
            parse_assignment("data.capability=quick"),
            parse_assignment("$.time=2024-06-01T10:00:00+08:00"),
        ),
        unset_fields=(parse_path("data.mobile"),),
    )
    (told,) = outcomes([letter(encoded(spoiled))], correction, kafka)
    assert told.verdict == "published"
    assert kafka.taken == [tap() | {"deadletter": "phone-events-2-417"}]


def test_an_event_of_a_file_takes_the_place_of_one_that_was_no_json() -> None:
    kafka = Kafka()
    (told,) = outcomes([letter(b"{")], Correction(event=encoded(tap())), kafka)
    assert told.verdict == "published"
    assert kafka.taken[0]["id"] == "tap-1"


@pytest.mark.parametrize(
    ("value", "correction", "sentence"),
    [
        (b"{", Correction(), "the letter is none; write it anew"),
        (b"[1]", Correction(), "the letter is none"),
        (None, Correction(), "the letter is none"),
        (b"{}", Correction(event=b"no"), "the one given is none"),
        (b"{}", Correction(unset_fields=(("data", "x"),)), "no field data.x"),
        (b'{"data":1}', Correction(set_fields=((("data", "x"), 1),)), "data is no object"),
        (b'{"type":"clock.ticked"}', Correction(), "clock tick is not put back"),
    ],
)
def test_what_cannot_be_corrected_says_why(
    value: bytes | None, correction: Correction, sentence: str
) -> None:
    with pytest.raises(NotCorrectedError, match=sentence):
        correction.apply(letter(value))
    (told,) = outcomes([letter(value)], correction)
    assert told.verdict == "refused"


def test_a_sentence_about_a_phone_number_does_not_repeat_it() -> None:
    (told,) = outcomes([letter(encoded(tap(client=PHONE, capability="quick")))])
    assert told.verdict == "refused"
    assert PHONE not in told.sentence


def test_what_was_fixed_already_is_left_alone() -> None:
    kafka = Kafka()
    fixes = {Identity(2, 417): Fix(1, 5, NOW_MS, "retried")}
    (told,) = outcomes([letter(encoded(tap()), None)], kafka=kafka, fixes=fixes)
    assert told.verdict == "fixed already"
    assert told.sentence == "It was retried as phone-events-1-5."
    assert kafka.taken == []


def test_a_delivery_that_fails_stops_the_rest() -> None:
    letters = (letter(encoded(tap(f"tap-{number}")), None) for number in range(UNCONFIRMED_MAX + 100))
    told = outcomes(letters, kafka=Kafka(UnavailableError("Kafka is away.")))
    assert {outcome.verdict for outcome in told} == {"not delivered"}
    assert len(told) == UNCONFIRMED_MAX + 1


def test_a_producer_that_cannot_connect_stops_at_the_first() -> None:
    class Away(Kafka):
        def publish(self, event: bytes) -> Sent:
            del event
            raise UnavailableError("Kafka is away.")

    told = outcomes([letter(encoded(tap()), None)] * 3, kafka=Away())
    assert [outcome.verdict for outcome in told] == ["not delivered"]


def test_values_are_json_where_they_are_and_text_elsewhere() -> None:
    assert parse_assignment("data.calls=250") == (("data", "calls"), 250)
    assert parse_assignment('data.pack_id="250"') == (("data", "pack_id"), "250")
    assert parse_assignment("data.store=store-3=b") == (("data", "store"), "store-3=b")


@pytest.mark.parametrize("text", ["data.calls", "=5", "data..x=5", "."])
def test_a_wrong_assignment_or_path_is_a_sentence(text: str) -> None:
    with pytest.raises(UserError, match="write it like"):
        parse_assignment(text)


@pytest.mark.parametrize("text", ["phone-events-2-417", "2-417"])
def test_an_identity_is_read_with_and_without_its_topic(text: str) -> None:
    assert parse_identity(text) == Identity(2, 417)


@pytest.mark.parametrize("text", ["", "417", "phone-ledger-2-417", "2-417-1", "-2-417"])
def test_a_wrong_identity_is_a_sentence(text: str) -> None:
    with pytest.raises(UserError, match="does not name a dead letter"):
        parse_identity(text)


def test_letters_are_chosen_by_reason_app_and_time() -> None:
    mismatched = letter(encoded(tap()), b"wxkey")
    assert Wanted("key_mismatch", APP, 1_790_000_000_000).covers(mismatched)
    assert Wanted(app="wxkey").covers(mismatched)
    assert not Wanted(app="wxelse").covers(mismatched)
    assert not Wanted(reason="not_json").covers(mismatched)
    assert not Wanted(since_ms=1_790_000_000_001).covers(mismatched)
