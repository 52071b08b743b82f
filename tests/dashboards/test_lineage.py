"""The view of the appids that apps had and have, by the real engine (rule 16)."""

import secrets

from metering.rules import Rules
from sinks.connection import connect, rows
from tests.conftest import RunningEngine
from tests.metering.building import Play, at, migrated, purchased, succeeded
from tests.phonemeter.cli.storing import stored


def test_history_is_found_under_the_newest_appid(engine: RunningEngine) -> None:
    played = Play(Rules())
    played.on(
        *(succeeded(at(day), app="wx-1") for day in (1, 2, 3)),
        migrated(at(4), "wx-2", app="wx-1"),
        succeeded(at(5), app="wx-2"),
        migrated(at(6), "wx-3", app="wx-2"),
        migrated(at(7), "wx-else", app="wx-2"),
        purchased(at(8), "p", app="wx-3"),
        succeeded(at(8), app="wx-other"),
        migrated(at(9), "wx-3", app="wx-0"),
    )
    with connect(stored(engine.url(f"lineage_{secrets.token_hex(4)}"), played.entries)) as client:
        found = rows(
            client,
            "SELECT appid, current, migrated_to, toUnixTimestamp64Milli(migrated_at), migrated_from "
            "FROM lineage ORDER BY appid",
        )
        calls = rows(
            client,
            "SELECT lineage.current, sum(usage_monthly_by_app.succeeded) FROM usage_monthly_by_app "
            "INNER JOIN lineage USING (appid) GROUP BY 1 ORDER BY 1",
        )
    assert found == [
        ("wx-0", "wx-3", "wx-3", at(9), []),
        ("wx-1", "wx-3", "wx-2", at(4), []),
        ("wx-2", "wx-3", "wx-3", at(6), ["wx-1"]),
        ("wx-3", "wx-3", "", None, ["wx-0", "wx-2"]),
        ("wx-other", "wx-other", "", None, []),
    ]
    assert dict(calls) == {"wx-3": 4, "wx-other": 1}
