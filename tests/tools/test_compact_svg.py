"""Compaction of an SVG: fewer bytes and a line for each panel, the same texts and the same geometry."""

import io
import re
import xml.etree.ElementTree as ET

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure

from tools.pictures.compact_svg import SVG, compact

Points = list[tuple[float, float]]


@pytest.fixture
def drawn() -> str:
    """A figure with a curve of many points, bars in steps, a clipped text and a dashed line."""
    figure = Figure(figsize=(6, 4))
    left, right = figure.subplots(1, 2)
    left.plot(range(200), [(n * n) % 37 for n in range(200)])
    left.text(0.2, 0.5, "¥1,234 & 资源包", transform=left.transAxes, clip_on=True)
    right.fill_between(range(50), [n // 10 for n in range(50)], step="mid")
    right.axvline(20, linestyle="--")
    with io.StringIO() as file, mpl.rc_context({"svg.fonttype": "none"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
        return file.getvalue()


def elements(svg: str, tag: str) -> list[ET.Element]:
    return list(ET.fromstring(svg).iter(f"{{{SVG}}}{tag}"))  # noqa: S314 - made here


def points(path: str) -> Points:
    """The points of a path without curves, absolute."""
    found: Points = []
    x = y = 0.0
    for command, numbers in re.findall(r"([MLlhv])([^A-Za-z]*)", path):
        values = [float(number) for number in re.findall(r"-?[\d.]+", numbers)]
        if command in "ML":
            x, y = values
        else:
            x += 0 if command == "v" else values[0]
            y += 0 if command == "h" else values[-1]
        found.append((x, y))
    return found


def extent(path: str) -> tuple[float, ...]:
    xs, ys = zip(*points(path), strict=True)
    return min(xs), max(xs), min(ys), max(ys)


@pytest.mark.filterwarnings("ignore:Glyph .* missing from font")
def test_a_compacted_picture_is_small_and_shows_the_same(drawn: str) -> None:
    small = compact(drawn)
    assert len(small) < len(drawn) / 2
    assert len(small.splitlines()) < 12
    assert [text.text for text in elements(small, "text")] == [text.text for text in elements(drawn, "text")]
    before = [path.attrib["d"] for path in elements(drawn, "path") if "C" not in path.attrib["d"]]
    after = [path.attrib["d"] for path in elements(small, "path") if "C" not in path.attrib["d"]]
    assert len(before) == len(after)
    for original, compacted in zip(before, after, strict=True):
        assert extent(compacted) == pytest.approx(extent(original), abs=0.1)


@pytest.mark.filterwarnings("ignore:Glyph .* missing from font")
def test_every_reference_and_every_class_of_a_compacted_picture_has_its_definition(drawn: str) -> None:
    small = compact(drawn)
    referred = set(re.findall(r'(?:url\(|href=")#([\w-]+)', small))
    assert referred
    assert referred <= set(re.findall(r' id="([\w-]+)"', small))
    assert set(re.findall(r'class="(\w+)"', small)) == set(re.findall(r"\.(c\d+)\{", small))


def test_points_on_a_straight_line_are_left_out() -> None:
    path = "M 0 0 L 1 0 L 2 0.01 L 3 0 L 3 5 z"
    svg = f'<svg xmlns="{SVG}"><defs><style></style></defs><path d="{path}"/></svg>'
    (compacted,) = elements(compact(svg), "path")
    assert compacted.attrib["d"] == "M0 0h3v5z"
