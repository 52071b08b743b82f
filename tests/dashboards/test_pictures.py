"""The pictures of the pages: there for each page, small, of these panels, and drawn without an error."""

from pathlib import Path

import pytest

from dashboards.grafana.page import TITLES
from tests.dashboards.conftest import Ledger
from tools.pictures import drawing
from tools.pictures.answers import Answers
from tools.pictures.grafana_data import GrafanaData
from tools.pictures.half_year import DAYS, START_MS
from tools.pictures.pages import PAGES, committed

PAGE = (drawing.IMAGES.parent / "how-to" / "dashboards.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("language", "page"), PAGES)
def test_the_picture_of_a_page_shows_its_panels_and_is_small(language: str, page: str) -> None:
    file = drawing.picture(page, language)
    assert file.stat().st_size < 80_000
    assert len(file.read_text(encoding="utf-8").splitlines()) < 300
    shown = drawing.texts(file)
    board = committed(language, page)
    assert board["title"] in shown
    assert {panel["title"] for panel in board["panels"] if panel["type"] != "row"} <= shown


def test_the_page_of_the_documentation_shows_each_page_and_its_five_questions() -> None:
    sections = PAGE.split("\n## ")
    for page, title in TITLES.items():
        (section,) = [one for one in sections if one.startswith(f"{title}\n")]
        assert f"(../images/dashboard-{page}-en.svg)" in section
        assert [line[:3] for line in section.splitlines() if line[:1].isdigit()] == [
            f"{n}. " for n in range(1, 6)
        ]


@pytest.mark.filterwarnings("ignore:Glyph .* missing from font")
def test_a_page_is_drawn_from_the_answers_of_the_engine(
    simulated: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "IMAGES", tmp_path)
    time_range = committed("zh", "app")["time"]
    answers = Answers("app", simulated.engine.url, None, time_range, (START_MS, DAYS))
    with GrafanaData() as grafana:
        file = drawing.draw("zh", "app", answers, grafana, live=False)
    assert file.parent == tmp_path
    assert "资源包直至到期" in drawing.texts(file)
