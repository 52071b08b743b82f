"""The pictures of the pages: there for each page, small, of these panels, and drawn without an error."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from dashboards.grafana.page import TITLES
from tests.dashboards import drawing
from tests.dashboards.conftest import Ledger
from tests.dashboards.drawn_answers import Answers
from tests.dashboards.pages import PAGES, committed
from tests.dashboards.simulated import DAYS, START_MS

PAGE = (drawing.IMAGES.parent / "dashboards.md").read_text(encoding="utf-8")
TEXT = "{http://www.w3.org/2000/svg}text"


def texts(file: Path) -> set[str]:
    return {"".join(element.itertext()) for element in ET.parse(file).iter(TEXT)}  # noqa: S314 - our own file


@pytest.mark.parametrize(("language", "page"), PAGES)
def test_the_picture_of_a_page_shows_its_panels_and_is_small(language: str, page: str) -> None:
    file = drawing.IMAGES / f"dashboard-{page}-{language}.svg"
    assert file.stat().st_size < 300_000
    shown = texts(file)
    board = committed(language, page)
    assert board["title"] in shown
    assert {panel["title"] for panel in board["panels"] if panel["type"] != "row"} <= shown


def test_the_page_of_the_documentation_shows_each_page_and_its_five_questions() -> None:
    sections = PAGE.split("\n## ")
    for page, title in TITLES.items():
        (section,) = [one for one in sections if one.startswith(f"{title}\n")]
        assert f"(images/dashboard-{page}-en.svg)" in section
        assert [line[:3] for line in section.splitlines() if line[:1].isdigit()] == [
            f"{n}. " for n in range(1, 6)
        ]


@pytest.mark.stack
@pytest.mark.filterwarnings("ignore:Glyph .* missing from font")
def test_a_page_is_drawn_from_the_answers_of_the_engine(
    simulated: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "IMAGES", tmp_path)
    asked = committed("zh", "app")["time"]
    answers = Answers("app", simulated.engine.url, None, asked, (START_MS, DAYS))
    file = drawing.draw("zh", "app", answers, live=False)
    assert file.parent == tmp_path
    assert "资源包直至到期" in texts(file)
