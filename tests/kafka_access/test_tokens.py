"""The tokens of a client are asked for seldom, and outlast an endpoint that is away."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kafka_access.access import KafkaAccessError, TokenEndpoint
from kafka_access.tokens import RETRY_S, AccessTokens
from tests.brokers.authority import Authority
from tests.kafka_access.token_endpoint import SECRET, TokenServer, token_server


class Clock:
    """A clock that the test sets."""

    now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def server(tmp_path: Path) -> Iterator[TokenServer]:
    """A token endpoint."""
    with token_server(Authority(tmp_path / "authority")) as server:
        yield server


@pytest.fixture
def endpoint(server: TokenServer, tmp_path: Path) -> TokenEndpoint:
    """The endpoint as a client knows it."""
    file = tmp_path / "secret"
    file.write_text(SECRET)
    return TokenEndpoint(server.url, "meter", file, ca_file=server.ca_file)


def test_a_token_is_kept_for_most_of_its_lifetime_and_shared_by_threads(
    server: TokenServer, endpoint: TokenEndpoint
) -> None:
    server.lifetime_s = 100
    clock = Clock()
    tokens = AccessTokens(endpoint, clock)
    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(lambda _: tokens.token(), range(32))) == set(server.given)
    assert len(server.given) == 1
    clock.now_s += 79
    assert tokens.lease() == (server.given[0], 21)
    clock.now_s += 1
    assert tokens.lease() == (server.given[1], 100)
    tokens.forget()
    assert tokens.token() == server.given[2]
    assert len(server.given) == 3


def test_an_endpoint_that_is_away_matters_only_when_no_token_is_valid(
    server: TokenServer, endpoint: TokenEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    server.lifetime_s = 100
    clock = Clock()
    tokens = AccessTokens(endpoint, clock)
    first = tokens.token()
    server.away = True
    clock.now_s += 85
    assert [tokens.token() for _ in range(3)] == [first] * 3
    (told,) = caplog.messages
    assert "refuses client meter (503 away)" in told
    assert told.endswith("the token before is valid for 15 s")
    clock.now_s += 15
    with pytest.raises(KafkaAccessError, match="503 away"):
        tokens.token()
    server.away = False
    assert tokens.token() == server.given[-1] != first


def test_a_renewal_that_failed_is_tried_again_after_a_pause(
    server: TokenServer, endpoint: TokenEndpoint
) -> None:
    clock = Clock()
    tokens = AccessTokens(endpoint, clock)
    first = tokens.token()
    server.away = True
    clock.now_s += 0.8 * server.lifetime_s
    assert tokens.token() == first
    server.away = False
    clock.now_s += RETRY_S - 1
    assert tokens.token() == first
    clock.now_s += 1
    assert tokens.token() == server.given[1]


def test_a_token_without_a_lifetime_is_asked_for_each_time(
    server: TokenServer, endpoint: TokenEndpoint
) -> None:
    server.lifetime_s = -1
    tokens = AccessTokens(endpoint, Clock())
    assert tokens.token() != tokens.token()


def test_a_certificate_of_the_endpoint_is_checked_with_its_own_ca(
    endpoint: TokenEndpoint, tmp_path: Path
) -> None:
    for ca_file in (None, Authority(tmp_path / "other", "Other").file):
        stranger = TokenEndpoint(endpoint.url, "meter", endpoint.secret_file, ca_file=ca_file)
        with pytest.raises(KafkaAccessError, match=r"set PHONEMETER_KAFKA_TOKEN_CA_FILE to") as refused:
            AccessTokens(stranger).token()
        assert "certificate verify failed" in str(refused.value)
    none = TokenEndpoint(endpoint.url, "meter", endpoint.secret_file, ca_file=endpoint.secret_file)
    with pytest.raises(KafkaAccessError, match=f"^{endpoint.secret_file} holds no certificates of a CA"):
        AccessTokens(none).token()
