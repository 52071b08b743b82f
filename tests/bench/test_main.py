"""`make bench` keeps what is right, writes it down, and fails over what is wrong."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import __main__ as bench
from bench import end_to_end, peers
from bench.figures import Figure

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "performance.md"


def rate(*, correct: bool) -> Iterator[Figure]:
    yield Figure(figure="end to end: rate", values=(31_000.0,), unit="events/s", correct=correct)


@pytest.fixture
def page(tmp_path: Path) -> Path:
    copy = tmp_path / "page.md"
    copy.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    return copy


def test_a_part_is_measured_kept_and_written_down(
    tmp_path: Path, page: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(end_to_end, "figures", lambda *_: rate(correct=True))
    kept = tmp_path / "lines.jsonl"
    bench.main(["end-to-end", "--lines", str(kept), "--write", str(page)])
    (printed,) = capsys.readouterr().out.splitlines()
    assert kept.read_text() == f"{printed}\n"
    assert json.loads(printed)["conditions"]["size"] == "quick"
    assert "| end to end: rate | 31,000 events/s |" in page.read_text(encoding="utf-8")


def test_a_wrong_output_fails_and_is_not_kept(
    tmp_path: Path, page: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(end_to_end, "figures", lambda *_: rate(correct=False))
    kept = tmp_path / "lines.jsonl"
    before = page.read_text(encoding="utf-8")
    with pytest.raises(SystemExit):
        bench.main(["end-to-end", "--lines", str(kept), "--write", str(page)])
    assert "count for nothing" in capsys.readouterr().err
    assert kept.read_text() == ""
    assert page.read_text(encoding="utf-8") == before


def test_without_the_peers_ours_is_measured_and_that_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[peers.PeersConfig] = []

    def lines(of: peers.PeersConfig) -> Iterator[peers.JsonLine]:
        asked.append(of)
        yield {
            "peer": "phonemeter",
            "mode": peers.MODE,
            "events": 10,
            "events_per_s": 90_000,
            "cpu_s_per_million": 11.0,
            "peak_rss_mb": 200,
            "correct": True,
        }

    monkeypatch.setattr(peers, "lines", lines)
    bench.main(["peers", "--peerbench", str(tmp_path / "nowhere")])
    said = capsys.readouterr()
    assert asked[0].peerbench is None
    assert [line for line in said.err.splitlines() if "nowhere" in line] == [
        f"{tmp_path / 'nowhere'} is not there, so no peer is measured; name it with --peerbench"
    ]
    assert [json.loads(line).get("figure") for line in said.out.splitlines()] == [
        None,
        "worker: CPU",
        "worker: rate",
    ]


def test_a_part_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench.main(["end-to-end", "everything"])
    assert "everything" in capsys.readouterr().err
