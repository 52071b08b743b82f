from pathlib import Path
from typing import Any

import pytest

from bench.table import PARTS, write_page

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "explanation" / "performance.md"


def figure(name: str, value: float, **changes: object) -> dict[str, Any]:
    line = {
        "figure": name,
        "value": value,
        "unit": "ms",
        "runs": 3,
        "lowest": value,
        "highest": value,
        "target": "at most 500",
        "met": True,
        "correct": True,
        "under": {"events_per_s": 1_000, "us_per_tap": {"10": 7.5}},
        "conditions": {"cores": 2},
    }
    return {**line, **changes}


def peer(name: str, cpu: float) -> dict[str, Any]:
    return {
        "peer": name,
        "mode": "m",
        "events": 1_000_000,
        "events_per_s": 50_000,
        "cpu_s_per_million": cpu,
        "peak_rss_mb": 400,
        "correct": True,
    }


@pytest.fixture
def page(tmp_path: Path) -> Path:
    copy = tmp_path / "page.md"
    copy.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    return copy


def test_the_page_has_every_part_once() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name in PARTS:
        assert text.count(f"<!-- {name}: written by `make bench` -->") == 1
        assert text.count(f"<!-- end of {name} -->") == 1


def test_the_tables_are_written_anew_and_the_text_stays(page: Path) -> None:
    small = {**peer("ours", 30.0), "events": 1_000}
    lines = [figure("freshness", 480.0), small, *(peer("ours", cpu) for cpu in (11.0, 12.0, 10.0))]
    assert write_page(page, lines) == ["figures", "peers", "conditions"]
    first = page.read_text(encoding="utf-8")
    row = "| freshness | 480 ms | 480 to 480, 3 runs | at most 500 | yes |"
    assert f"{row} events per s 1,000, us per tap 10: 7.5 |" in first
    assert "| ours | m | 3 | 1,000,000 | 11 (10 to 12) | 50,000 (50,000 to 50,000) |" in first
    assert "| cores | 2 |" in first
    write_page(page, [figure("freshness", 350.0), peer("ours", 9.0)])
    second = page.read_text(encoding="utf-8")
    assert "480" not in second
    assert "| freshness | 350 ms |" in second
    assert [line for line in first.splitlines() if line[:1] != "|"] == [
        line for line in second.splitlines() if line[:1] != "|"
    ]


def test_a_target_that_is_missed_or_a_wrong_output_stands_out(page: Path) -> None:
    write_page(page, [figure("a", 600.0, met=False), figure("b", 1.0, correct=False)])
    text = page.read_text(encoding="utf-8")
    assert "| at most 500 | **no** |" in text
    assert "| at most 500 | **wrong output** |" in text


def test_a_page_without_the_part_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Nothing\n", encoding="utf-8")
    with pytest.raises(ValueError, match="0 parts named figures"):
        write_page(page, [figure("a", 1.0)])
