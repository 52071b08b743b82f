"""Emitting many events: verdicts by line, and where it stops."""

from collections.abc import Sequence
from datetime import UTC, datetime

from confluent_kafka import KafkaError

from producers import events
from producers.emission import CheckingPublisher, Emission, Refusal, Totals
from producers.event_batch import EventBatch

NOW_MS = 1_800_000_000_000
GOOD = events.to_json(
    events.authorization_succeeded(
        appid="wxapp1", code="code-1", capability="quick", time=datetime(2026, 10, 17, 10, 5, tzinfo=UTC)
    )
)


class FakePublisher(CheckingPublisher):
    """Checks like the real one; delivers when served, up to `broken_from`, and then fails."""

    def __init__(self, broken_from: int | None = None) -> None:
        super().__init__(now_ms=lambda: NOW_MS)
        self.published: list[bytes] = []
        self.stopped = False
        self._broken_from = broken_from
        self._open: list[tuple[EventBatch, bytes]] = []

    def publish(self, values: Sequence[bytes]) -> EventBatch:
        checked = super().publish(values)
        refused = {place for place, _ in checked.refusals}
        batch = EventBatch(values)
        batch.refusals = checked.refusals
        batch.expect(checked.accepted, 0)
        batch.close()
        accepted = [value for place, value in enumerate(values) if place not in refused]
        self._open += [(batch, value) for value in accepted]
        return batch

    def serve(self, timeout_s: float = 0) -> None:  # noqa: ARG002 - outcomes are always there
        for batch, value in self._open:
            self.published.append(value)
            broken = self._broken_from is not None and len(self.published) >= self._broken_from
            batch.record_outcome(KafkaError(KafkaError.UNKNOWN) if broken else None, FakeMessage(value))
            self.failure = self.failure or batch.failure
        self._open.clear()

    def stop_sending(self) -> None:
        self.stopped = True

    def finish(self) -> None:
        self.serve()


class FakeMessage:
    def __init__(self, value: bytes) -> None:
        self._value = value

    def value(self) -> bytes:
        return self._value


def good(number: int) -> bytes:
    time = datetime(2026, 10, 17, 10, 5, tzinfo=UTC)
    code = f"code-{number}"
    return events.to_json(
        events.authorization_succeeded(appid="wxapp1", code=code, capability="quick", time=time)
    )


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


def test_lines_in_a_row_are_judged_each_by_itself_and_told_in_their_order() -> None:
    refused: list[Refusal] = []
    publisher = FakePublisher()
    emission = Emission(publisher, refused.append)
    emission.offer_all(7, [good(7), b"", b"{", None, good(11), b'{"type":"phone.number.sold"}'])
    emission.finish()
    assert [(refusal.line, refusal.reason) for refusal in refused] == [
        (9, "not_json"),
        (10, "too_large"),
        (12, "unknown_type"),
    ]
    assert emission.totals == Totals(accepted=2, refused=3, delivered=2, failed=0)
    assert publisher.published == [good(7), good(11)]
    assert emission.next_line == 13


def test_a_failed_delivery_names_the_first_line_that_is_missing_and_stops() -> None:
    publisher = FakePublisher(broken_from=3)
    emission = Emission(publisher, lambda _: None)
    emission.offer_all(1, [good(1), b"{", good(3), b"", good(5), good(6)])
    emission.offer_all(7, [good(7)])
    emission.finish()
    assert emission.totals == Totals(accepted=4, refused=1, delivered=2, failed=2)
    assert emission.first_failed_line == emission.next_line == 5
    assert emission.stopped_because
    assert publisher.stopped
    assert good(7) not in publisher.published


def test_a_dry_run_refuses_what_the_producer_would_refuse() -> None:
    emission = Emission(CheckingPublisher(now_ms=lambda: NOW_MS - 10**11), lambda _: None)
    assert not emission.offer(1, GOOD)
