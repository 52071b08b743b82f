"""The health of the console: what it promises, and what it says when a database is away."""

from pathlib import Path

from dashboards.console.health import Health
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.sessions import BusinessSessions


def sessions_at(url: str) -> BusinessSessions:
    return BusinessSessions(BusinessDatabase(url), 60, 12)


async def test_it_has_started_once_the_database_was_asked(tmp_path: Path) -> None:
    health = Health(sessions_at(f"sqlite:///{tmp_path}/business.sqlite"))
    assert health.verdict().state == "starting"
    await health.look()
    assert health.verdict().state == "healthy"
    assert health.verdict().promises_kept() == {"started": True, "reachable": True}


async def test_a_database_that_is_away_is_told_in_a_sentence_without_its_password() -> None:
    health = Health(sessions_at("postgresql://phonemeter:sesame@127.0.0.1:1/x"))
    await health.look()
    verdict = health.verdict()
    assert verdict.promises_kept() == {"started": True, "reachable": False}
    (problem,) = verdict.problems
    assert "can't be used" in problem.sentence
    assert "sesame" not in problem.sentence


async def test_what_its_parts_miss_is_told_as_well(tmp_path: Path) -> None:
    troubles = ["ClickHouse does not answer."]
    health = Health(sessions_at(f"sqlite:///{tmp_path}/business.sqlite"), lambda: troubles)
    await health.look()
    assert [one.sentence for one in health.verdict().problems] == troubles
    troubles.clear()
    assert health.verdict().state == "healthy"
