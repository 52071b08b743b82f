"""A stack that is down lends its data, a stack that runs is left alone."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from phonemeter.settings import Settings
from phonemeter.stack import data_services as module
from phonemeter.stack.data_services import data_services


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The services of the stack that would be started; none is."""
    begun: list[tuple[str, ...]] = []

    @contextmanager
    def stack(_settings: Settings, *, only: tuple[str, ...], make_topics: bool) -> Iterator[None]:
        assert make_topics
        begun.append(only)
        yield

    monkeypatch.setattr(module, "Stack", stack)
    return begun


def test_the_services_asked_for_are_started_where_the_stack_is_down(
    stack_settings: Settings, started: list[tuple[str, ...]]
) -> None:
    (stack_settings.data_dir / "kafka").mkdir(parents=True)
    with data_services(stack_settings, ("kafka", "engine")) as lent:
        assert lent
    assert started == [("kafka", "engine")]


def test_a_stack_that_runs_is_left_as_it_is(stack_settings: Settings, started: list[tuple[str, ...]]) -> None:
    (stack_settings.data_dir / "kafka").mkdir(parents=True)
    with (
        socket.create_server(("127.0.0.1", stack_settings.kafka_port)),
        data_services(stack_settings, ("kafka",)) as lent,
    ):
        assert not lent
    assert started == []


def test_nothing_is_started_for_a_kafka_elsewhere_or_without_data(
    stack_settings: Settings, started: list[tuple[str, ...]]
) -> None:
    with data_services(stack_settings, ("kafka",)):
        pass
    (stack_settings.data_dir / "kafka").mkdir(parents=True)
    with data_services(stack_settings.replaced(kafka="kafka.example:9092"), ("kafka",)):
        pass
    assert started == []
