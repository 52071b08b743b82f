"""The report of `status` on sources that publish into wrong partitions, on the real engine."""

import secrets

from phonemeter.stack.misplacing_sources import misplacing_sources
from sinks.connection import connect
from sinks.migrations import migrate
from tests.conftest import RunningEngine


def test_sources_of_the_last_hour_are_named_with_what_to_do(engine: RunningEngine) -> None:
    url = engine.url(f"misplaced_{secrets.token_hex(4)}")
    migrate(url)
    assert misplacing_sources(url) == []
    with connect(url) as client:
        for offset, (source, reason, minutes) in enumerate(
            [
                ("/kcat", "wrong_partition", 1),
                ("/kcat", "wrong_partition", 50),
                ("/go\x1b[2J", "wrong_partition", 2),
                ("/long-ago", "wrong_partition", 70),
                ("/other", "not_json", 1),
            ]
        ):
            client.execute(
                "INSERT INTO ledger (source_partition, source_offset, line, kind, reason, source, time) "
                "SELECT 0, %(offset)s, 0, 'rejection', %(reason)s, %(source)s, "
                "now() - INTERVAL %(minutes)s MINUTE",
                {"offset": offset, "reason": reason, "source": source, "minutes": minutes},
            )
    kcat, go = misplacing_sources(url)
    assert kcat.startswith(
        "Source '/kcat' publishes into wrong partitions: 2 records refused in the last hour"
    )
    assert kcat.endswith("phonemeter dead-letters retry --all --reason wrong_partition.")
    assert go.startswith("Source '/go")
    assert "\x1b" not in go


def test_an_engine_that_is_away_is_somebody_elses_to_tell() -> None:
    assert misplacing_sources("clickhouse://127.0.0.1:1/default") == []
