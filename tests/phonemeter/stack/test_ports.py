import socket
from collections.abc import Callable

import pytest

from phonemeter.stack import ports
from phonemeter.stack.ports import PortTakenError, check_ports


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for a port to be given back."""
    monkeypatch.setattr(ports, "RELEASE_S", 0.0)


def test_free_ports_pass(free_port: Callable[[], int]) -> None:
    check_ports({"kafka_port": free_port(), "worker_port": free_port()})


def test_a_port_in_use_is_named_with_its_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTakenError, match=rf"Port {port} .* PHONEMETER_KAFKA_PORT \(kafka_port in"):
            check_ports({"kafka_port": port})


def test_one_port_for_two_settings_is_refused(free_port: Callable[[], int]) -> None:
    port = free_port()
    with pytest.raises(PortTakenError, match=rf"Port {port} .* PHONEMETER_WORKER_PORT"):
        check_ports({"kafka_port": port, "worker_port": port})


def test_a_port_that_is_given_back_in_time_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "RELEASE_S", 5.0)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(ports, "_bind_all", _released_after_one_try(ports._bind_all, taken))
        check_ports({"kafka_port": port})


def _released_after_one_try(
    bind_all: Callable[[dict[str, int]], None], taken: socket.socket
) -> Callable[[dict[str, int]], None]:
    def once(settings: dict[str, int]) -> None:
        try:
            bind_all(settings)
        finally:
            taken.close()

    return once
