"""Letters corrected and published, without a broker."""

import json
from collections.abc import Callable, Iterator

import pytest

from metering.content_modes import Headers
from metering.dead_letters import DeadLetter
from phonemeter.clickhouse import ClickHouseError
from phonemeter.dead_letters.advice import advice_for
from phonemeter.dead_letters.fixes import Fix
from phonemeter.dead_letters.letter_log import LetterFilter, LetterId, parse_letter_id
from phonemeter.dead_letters.retries import (
    UNCONFIRMED_MAX,
    LetterCorrection,
    NotCorrectedError,
    RetryOutcome,
    parse_assignment,
    parse_path,
    retry,
)
from phonemeter.errors import UserError
from producers.delivery import Place
from producers.errors import DeliveryError, RefusedError, UnavailableError
from producers.events import refusal
from tests.phonemeter.dead_letters.letters import (
    APP,
    PHONE,
    encoded,
    held_letter,
    in_binary_mode,
    letter,
    tap,
)

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
    correction: LetterCorrection = LetterCorrection(),  # noqa: B008 - it is frozen
    kafka: Kafka | None = None,
    fixes: dict[LetterId, Fix] | None = None,
    counted: Callable[[bytes], str] = lambda _event: "",
) -> list[RetryOutcome]:
    told: list[RetryOutcome] = []
    retry(letters, correction, kafka or Kafka(), fixes or {}, told.append, counted=counted)
    return told


def test_a_letter_whose_key_was_wrong_is_published_as_it_is_with_its_name() -> None:
    kafka = Kafka()
    (told,) = outcomes([letter(encoded(tap()), b"other")], kafka=kafka)
    assert told == RetryOutcome(LetterId(2, 417), "published", Place(0, 7), "")
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
    correction = LetterCorrection(
        set_fields=(
            parse_assignment("data.capability=quick"),
            parse_assignment("$.time=2024-06-01T10:00:00+08:00"),
        ),
        unset_fields=(parse_path("data.mobile"),),
    )
    (told,) = outcomes([letter(encoded(spoiled))], correction, kafka)
    assert told.verdict == "published"
    assert kafka.taken == [tap() | {"deadletter": "phone-events-2-417"}]


def test_a_letter_in_binary_mode_is_published_as_one_event_in_structured_mode() -> None:
    kafka = Kafka()
    value, headers = in_binary_mode(tap(capability="slow"))
    given = letter(value, headers=headers)
    assert "slow" in outcomes([given], kafka=kafka)[0].sentence
    correction = LetterCorrection(set_fields=(parse_assignment("data.capability=quick"),))
    (told,) = outcomes([given], correction, kafka)
    assert told.verdict == "published"
    marked = {"datacontenttype": "application/json", "deadletter": "phone-events-2-417"}
    assert kafka.taken == [tap() | marked]


DOUBLED = encoded(tap())[:-1] + b',"id":"tap-2"}'


@pytest.mark.parametrize(
    ("value", "headers", "sentence"),
    [
        (DOUBLED, (), "The key 'id' occurs twice: write the event again (--edit FILE)."),
        (
            encoded(tap())[:-2] + b',"capability":"realtime"}}',
            (),
            "The key 'capability' occurs twice: write the event again (--edit FILE).",
        ),
        (
            in_binary_mode(tap())[0],
            [*in_binary_mode(tap())[1], ("ce_id", b"tap-2")],
            "The header 'ce_id' stands twice. Write the event again (--edit FILE).",
        ),
        (
            b'{"capability":"quick","capability":"realtime"}',
            in_binary_mode(tap())[1],
            "The key 'capability' occurs twice: write the event again (--edit FILE).",
        ),
    ],
)
def test_of_what_stands_twice_none_is_chosen_and_only_an_event_written_anew_is_published(
    value: bytes, headers: Headers, sentence: str
) -> None:
    given, kafka = letter(value, headers=headers), Kafka()
    assert given.reason == "doubled_key"
    assert "Decide which of the two is meant" in advice_for(given)
    set_one = LetterCorrection(set_fields=(parse_assignment("id=tap-3"),))
    for correction in (LetterCorrection(), set_one):
        (told,) = outcomes([given], correction, kafka)
        assert (told.verdict, told.sentence, kafka.taken) == ("refused", sentence, [])
    (told,) = outcomes([given], LetterCorrection(event=encoded(tap())), kafka)
    assert told.verdict == "published"


def test_an_event_of_a_file_takes_the_place_of_one_that_was_no_json() -> None:
    kafka = Kafka()
    (told,) = outcomes([letter(b"{")], LetterCorrection(event=encoded(tap())), kafka)
    assert told.verdict == "published"
    assert kafka.taken[0]["id"] == "tap-1"


@pytest.mark.parametrize(
    ("value", "correction", "sentence"),
    [
        (b"{", LetterCorrection(), "the dead letter is not one; write it again"),
        (b"[1]", LetterCorrection(), "the dead letter is not one"),
        (None, LetterCorrection(), "the dead letter is not one"),
        (b"{}", LetterCorrection(event=b"no"), "the one given is not one"),
        (b"{}", LetterCorrection(unset_fields=(("data", "x"),)), "no field data.x"),
        (b'{"data":1}', LetterCorrection(set_fields=((("data", "x"), 1),)), "data is no object"),
        (b'{"type":"clock.ticked"}', LetterCorrection(), "clock tick is not published again"),
    ],
)
def test_what_cannot_be_corrected_says_why(
    value: bytes | None, correction: LetterCorrection, sentence: str
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
    fixes = {LetterId(2, 417): Fix(1, 5, NOW_MS, "retried")}
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
    assert parse_letter_id(text) == LetterId(2, 417)


@pytest.mark.parametrize("text", ["", "417", "phone-ledger-2-417", "2-417-1", "-2-417"])
def test_a_wrong_identity_is_a_sentence(text: str) -> None:
    with pytest.raises(UserError, match="does not name a dead letter"):
        parse_letter_id(text)


def test_letters_are_chosen_by_reason_app_and_time() -> None:
    mismatched = letter(encoded(tap()), b"wxkey")
    assert LetterFilter("key_mismatch", APP, 1_790_000_000_000).matches(mismatched)
    assert LetterFilter(app="wxkey").matches(mismatched)
    assert not LetterFilter(app="wxelse").matches(mismatched)
    assert not LetterFilter(reason="not_json").matches(mismatched)
    assert not LetterFilter(since_ms=1_790_000_000_001).matches(mismatched)


def test_a_letter_beyond_the_horizon_is_published_to_be_counted() -> None:
    kafka = Kafka()
    (told,) = outcomes([held_letter()], kafka=kafka)
    assert told.verdict == "published"
    assert kafka.taken == [tap() | {"deadletter": "phone-events-2-417", "beyondhorizon": "count"}]


def test_a_letter_beyond_the_horizon_that_was_counted_is_refused_and_not_sent() -> None:
    kafka = Kafka()
    asked: list[bytes] = []

    def counted(event: bytes) -> str:
        asked.append(event)
        return "It was counted before."

    told = outcomes([held_letter(), letter(encoded(tap()), b"other")], kafka=kafka, counted=counted)
    assert [one.verdict for one in told] == ["refused", "published"]
    assert told[0].sentence == "It was counted before."
    assert [json.loads(event)["id"] for event in asked] == ["tap-1"]
    assert "beyondhorizon" not in kafka.taken[0]


def test_without_clickhouse_nothing_beyond_the_horizon_is_published() -> None:
    def counted(_event: bytes) -> str:
        raise ClickHouseError("ClickHouse does not answer.")

    kafka = Kafka()
    (told,) = outcomes([held_letter()], kafka=kafka, counted=counted)
    assert (told.verdict, told.sentence, kafka.taken) == ("refused", "ClickHouse does not answer.", [])
