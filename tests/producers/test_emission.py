"""Emitting many events: lines in bounded memory, verdicts, and where it stops."""

import io
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from metering.events import VALUE_BYTES_MAX
from producers import events
from producers.client import OnSettled
from producers.emission import DryRun, Emission, Line, Refusal, Totals, read_lines
from producers.errors import DeliveryError, UnavailableError

NOW_MS = 1_800_000_000_000
GOOD = events.to_json(
    events.authorization_succeeded(
        appid="wxapp1", code="code-1", capability="quick", time=datetime(2026, 10, 17, 10, 5, tzinfo=UTC)
    )
)


class FakePublisher(DryRun):
    """Checks like the real one; delivers at once up to `broken_from`, then fails."""

    def __init__(self, broken_from: int | None = None) -> None:
        super().__init__(now_ms=lambda: NOW_MS)
        self.published: list[bytes] = []
        self._broken_from = broken_from

    def publish(self, event: bytes, on_settled: OnSettled | None = None) -> None:
        super().publish(event)
        self.published.append(event)
        broken = self._broken_from is not None and len(self.published) >= self._broken_from
        if on_settled is not None:
            on_settled(DeliveryError("Kafka is gone.") if broken else None)


class Unavailable(FakePublisher):
    def publish(self, event: bytes, on_settled: OnSettled | None = None) -> None:
        del event, on_settled
        raise UnavailableError("Kafka does not answer.")


def lines_of(data: bytes) -> list[Line]:
    return list(read_lines(io.BytesIO(data)))


def test_lines_are_numbered_as_in_an_editor_and_empty_ones_are_passed_over() -> None:
    assert [(line.number, line.value) for line in lines_of(b"a\n\n  \r\nb\r\nc")] == [
        (1, b"a"),
        (4, b"b"),
        (5, b"c"),
    ]


def test_a_byte_order_mark_is_no_part_of_the_first_event() -> None:
    assert lines_of(b"\xef\xbb\xbf{}\n")[0].value == b"{}"


def test_a_line_of_exactly_the_limit_is_read_whole() -> None:
    longest = b"a" * VALUE_BYTES_MAX
    assert [line.value for line in lines_of(longest + b"\r\n" + longest)] == [longest, longest]


def test_a_line_beyond_the_limit_is_passed_over_and_the_next_one_read() -> None:
    endless = b"a" * (5 * VALUE_BYTES_MAX + 3)
    assert [(line.number, line.value) for line in lines_of(endless + b"\nb\n")] == [(1, None), (2, b"b")]


def test_a_short_event_before_a_mountain_of_spaces_is_still_read() -> None:
    assert lines_of(b"a" + b" " * (3 * VALUE_BYTES_MAX) + b"\nb")[0].value == b"a"


@given(st.lists(st.binary(max_size=40).filter(lambda value: b"\n" not in value and value.strip() == value)))
def test_every_line_that_holds_something_is_read_once(values: list[bytes]) -> None:
    data = b"\n".join(values)
    read = lines_of(b"\n" + data)
    assert [line.value for line in read] == [value for value in values if value]
    if values and values[-1]:
        assert read[-1].bytes_read == len(data) + 1


def test_a_broken_line_never_stops_the_rest() -> None:
    refused: list[Refusal] = []
    publisher = FakePublisher()
    emission = Emission(publisher, refused.append)
    verdicts = [emission.offer(number, value) for number, value in enumerate([GOOD, b"{", None, GOOD], 1)]
    emission.finish()
    assert verdicts == [True, False, False, True]
    assert [(refusal.line, refusal.reason) for refusal in refused] == [(2, "not_json"), (3, "too_large")]
    assert emission.totals == Totals(accepted=2, refused=2, delivered=2, failed=0)
    assert publisher.published == [GOOD, GOOD]
    assert emission.stopped_because == ""


def test_a_failed_delivery_names_the_first_line_that_is_missing() -> None:
    emission = Emission(FakePublisher(broken_from=2), lambda _: None)
    for number in (1, 5, 9):
        emission.offer(number, GOOD)
    assert emission.totals == Totals(accepted=3, refused=0, delivered=1, failed=2)
    assert emission.first_failed_line == 5
    assert emission.stopped_because == "Kafka is gone."


def test_an_unavailable_broker_is_a_failed_delivery_and_no_refusal() -> None:
    emission = Emission(Unavailable(), lambda _: None)
    assert emission.offer(1, GOOD)
    assert emission.totals == Totals(accepted=1, refused=0, delivered=0, failed=1)
    assert emission.stopped_because == "Kafka does not answer."


def test_a_dry_run_refuses_what_the_producer_would_refuse() -> None:
    emission = Emission(DryRun(now_ms=lambda: NOW_MS - 10**11), lambda _: None)
    assert not emission.offer(1, GOOD)
