"""A stack that is down lends its data, a stack that runs is left alone."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from phonemeter.replay import serving as module
from phonemeter.replay.serving import serving
from phonemeter.settings import Settings


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What was started of the stack; nothing really is."""
    begun: list[tuple[str, ...]] = []

    @contextmanager
    def stack(_settings: Settings, *, only: tuple[str, ...]) -> Iterator[None]:
        begun.append(only)
        yield

    monkeypatch.setattr(module, "Stack", stack)
    return begun


def test_the_services_asked_for_are_started_where_the_stack_is_down(
    stack_settings: Settings, started: list[tuple[str, ...]]
) -> None:
    (stack_settings.data_dir / "kafka").mkdir(parents=True)
    with serving(stack_settings, ("kafka", "engine")) as lent:
        assert lent
    assert started == [("kafka", "engine")]


def test_a_stack_that_runs_is_left_as_it_is(stack_settings: Settings, started: list[tuple[str, ...]]) -> None:
    (stack_settings.data_dir / "kafka").mkdir(parents=True)
    with (
        socket.create_server(("127.0.0.1", stack_settings.kafka_port)),
        serving(stack_settings, ("kafka",)) as lent,
    ):
        assert not lent
    assert started == []


def test_nothing_is_started_for_a_kafka_elsewhere_or_without_data(
    stack_settings: Settings, started: list[tuple[str, ...]]
) -> None:
    with serving(stack_settings, ("kafka",)):
        pass
    (stack_settings.data_dir / "kafka").mkdir(parents=True)
    with serving(stack_settings.replaced(kafka="kafka.example:9092"), ("kafka",)):
        pass
    assert started == []
