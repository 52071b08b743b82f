import socket
from collections.abc import Callable

from phonemeter.demo.ports import PORTS, STEP, with_free_ports
from phonemeter.settings import Settings
from phonemeter.stack import services


def test_free_ports_are_kept(stack_settings: Settings) -> None:
    assert with_free_ports(stack_settings) == stack_settings


def test_a_taken_port_is_replaced_by_one_with_the_same_last_digits(
    stack_settings: Settings, free_port: Callable[[], int]
) -> None:
    with socket.socket() as listener:
        taken = free_port()
        listener.bind(("127.0.0.1", taken))
        listener.listen(1)
        moved = with_free_ports(stack_settings.replaced(kafka_port=taken))
    assert moved.kafka_port != taken
    assert moved.kafka_port % STEP == taken % STEP
    assert moved.kafka == f"127.0.0.1:{moved.kafka_port}"


def test_the_clickhouse_of_the_settings_follows_the_port(stack_settings: Settings) -> None:
    moved = with_free_ports(stack_settings)
    assert f"@127.0.0.1:{moved.engine_native_port}/" in moved.clickhouse


def test_every_port_of_the_stack_is_looked_at() -> None:
    assert set(PORTS) == {name for names in services.PORTS.values() for name in names}
