"""HTTP sessions: replaced by new ones at the limit, and ended by their client."""

import threading
from pathlib import Path

import clickhouse_connect

from phonemeter.engine.config import MAX_HTTP_SESSIONS
from tests.phonemeter.engine.harness import HOST, EngineProcess, running
from tests.waiting import WITHIN_S, blocking_until


def test_clients_that_come_and_go_are_all_served_and_the_least_recently_used_session_gives_way(
    data: Path,
) -> None:
    with running(data) as engine:
        for name in ("used", "idle"):
            engine.curl("CREATE TEMPORARY TABLE mine (a Int32)", session_id=name)
        for turn in range(MAX_HTTP_SESSIONS - 1):
            client = clickhouse_connect.get_client(host=HOST, port=engine.http_port)
            assert client.query("SELECT 1").result_rows == [(1,)]
            client.close()
            if turn % 10 == 0:
                assert engine.curl("SELECT count() FROM mine", session_id="used") == b"0\n"
        assert engine.curl("SELECT count() FROM mine", session_id="used", session_check="1") == b"0\n"
        assert engine.curl("SELECT 1", session_id="idle", session_check="1").startswith(b"Code: 372.")


def test_a_session_whose_query_runs_does_not_give_way(data: Path) -> None:
    endless = "SELECT count() FROM numbers(3e12) WHERE NOT ignore(sipHash64(number))"
    with running(data) as engine:
        thread = threading.Thread(
            target=engine.curl, args=(endless,), kwargs={"session_id": "busy", "query_id": "busy"}
        )
        thread.start()
        blocking_until(lambda: _runs(engine, "3e12"))
        for turn in range(MAX_HTTP_SESSIONS + 1):
            assert engine.curl("SELECT 1", session_id=f"s{turn}") == b"1\n"
        assert engine.curl("SELECT 1", session_id="busy").startswith(b"Code: 373.")
        engine.curl("KILL QUERY WHERE query_id = 'busy'")
        thread.join(WITHIN_S)
        assert not thread.is_alive()


def test_close_session_ends_it_with_the_query_that_says_so(engine: EngineProcess) -> None:
    for sql, expected in (("SELECT 7", b"7\n"), ("SELECT nope", b"Code: 47.")):
        engine.curl("CREATE TEMPORARY TABLE mine (a Int32)", session_id="closing")
        assert engine.curl("SELECT count() FROM mine", session_id="closing", session_check="1") == b"0\n"
        answer = engine.curl(sql, session_id="closing", close_session="1")
        assert answer.startswith(expected)
        assert engine.curl("SELECT 1", session_id="closing", session_check="1").startswith(b"Code: 372.")
    assert engine.curl("SELECT 1", session_id="never was", close_session="1") == b"1\n"


def _runs(engine: EngineProcess, part: str) -> bool:
    found = engine.curl(
        f"SELECT count() FROM system.processes WHERE query LIKE '%{part}%' AND query NOT LIKE '%LIKE%'"  # noqa: S608 - the tests' own words
    )
    return found == b"1\n"
