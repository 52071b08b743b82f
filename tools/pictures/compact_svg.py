"""Compaction of the SVG that matplotlib writes: rounded to tenths of a point, without invisible structure."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from itertools import count, pairwise
from typing import Final

SVG: Final = "http://www.w3.org/2000/svg"
TEXTS: Final = {f"{{{SVG}}}text", f"{{{SVG}}}title", f"{{{SVG}}}style"}
XLINK: Final = "http://www.w3.org/1999/xlink"
ROUNDED: Final = {"x", "y", "width", "height", "transform", "viewBox"}
NUMBER: Final = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")
STEP: Final = re.compile(r"([A-Za-z])([^A-Za-z]*)")
REFERENCE: Final = re.compile(r"#([\w-]+)")

Point = tuple[int, int]
"""Tenths of a point."""


def compact(svg: str) -> str:
    """The same picture in a fraction of the bytes, with a line for each panel."""
    root = ET.fromstring(svg)  # noqa: S314 - our own picture
    ET.register_namespace("", SVG)
    ET.register_namespace("xlink", XLINK)
    for metadata in root.findall(f"{{{SVG}}}metadata"):
        root.remove(metadata)
    _unwrap(root)
    _drop_ids(root)
    _classes(root)
    for element in root.iter():
        element.tail = None
        if element.tag not in TEXTS:
            element.text = (element.text or "").strip() or None
        _shorten(element)
    for panel in root.findall(f"{{{SVG}}}g/*"):
        panel.tail = "\n"
    for part in root:
        part.tail = "\n"
    return ET.tostring(root, encoding="unicode") + "\n"


def _unwrap(parent: ET.Element, depth: int = 0) -> None:
    """Replace groups that change nothing by their content, below the figure and its panels."""
    for child in list(parent):
        _unwrap(child, depth + 1)
        if child.tag != f"{{{SVG}}}g" or depth < 2:  # noqa: PLR2004 - the figure and its panels
            continue
        attributes = {name: value for name, value in child.attrib.items() if name != "id"}
        content = list(child)
        if attributes and (len(content) != 1 or attributes.keys() & content[0].attrib.keys()):
            continue
        for one in content:
            one.attrib.update(attributes)
        place = list(parent).index(child)
        parent[place : place + 1] = content


def _drop_ids(root: ET.Element) -> None:
    """Remove the names of elements that nothing refers to, and shorten the others."""
    values = [value for element in root.iter() for name, value in element.attrib.items() if name != "style"]
    used = {name for value in values for name in REFERENCE.findall(value)}
    short = dict(zip(sorted(used), (f"i{number}" for number in count()), strict=False))
    for element in root.iter():
        name = element.attrib.pop("id", None)
        if name in short:
            element.set("id", short[name])
        for key, value in element.attrib.items():
            if key != "style" and "#" in value:
                element.set(key, REFERENCE.sub(lambda found: f"#{short.get(found[1], found[1])}", value))


def _classes(root: ET.Element) -> None:
    """Give each style a name."""
    names: dict[str, str] = {}
    for element in root.iter():
        style = element.attrib.pop("style", None)
        if style is not None:
            element.set(
                "class", names.setdefault(style.replace(": ", ":").replace("; ", ";"), f"c{len(names)}")
            )
    (sheet,) = root.iter(f"{{{SVG}}}style")
    sheet.text = (sheet.text or "") + "".join(f".{name}{{{style}}}" for style, name in names.items())


def _shorten(element: ET.Element) -> None:
    if re.match(r"rotate\(-?0 ", element.get("transform", "")):
        del element.attrib["transform"]
    for name in ROUNDED & element.attrib.keys():
        rounded = NUMBER.sub(
            lambda number: f"{float(number[0]):.1f}".removesuffix(".0"), element.attrib[name]
        )
        element.set(name, rounded)
    if "d" in element.attrib:
        element.set("d", _path(element.attrib["d"]))


def _path(path: str) -> str:
    """A path in tenths of a point, by steps from point to point, without those that change nothing."""
    written: list[str] = []
    for points, closed in _lines(path):
        if points is None:
            # Curves, which only markers have.
            return NUMBER.sub(lambda found: f"{float(found[0]):.2f}", " ".join(path.split()))
        kept = _without_those_on_the_way(points)
        written.append("M" + _pair(*kept[0]))
        for (x, y), (to_x, to_y) in pairwise(kept):
            if x == to_x:
                written.append("v" + _tenths(to_y - y))
            elif y == to_y:
                written.append("h" + _tenths(to_x - x))
            else:
                written.append("l" + _pair(to_x - x, to_y - y))
        written += "z" * closed
    return "".join(written)


def _lines(path: str) -> Iterator[tuple[list[Point] | None, bool]]:
    """The lines of a path, each with whether it is closed; None for a curve."""
    points: list[Point] = []
    closed = False
    for command, numbers in STEP.findall(path):
        if command == "M":
            if points:
                yield points, closed
            points, closed = [], False
        if command == "z":
            closed = True
        elif command in "ML":
            x, y = map(float, numbers.split())
            points.append((round(x * 10), round(y * 10)))
        else:
            yield None, False
            return
    if points:
        yield points, closed


def _without_those_on_the_way(points: Sequence[Point]) -> list[Point]:
    """Leave out points that do not move, and those on a straight line between their neighbours."""
    kept: list[Point] = []
    for point in points:
        if kept and point == kept[-1]:
            continue
        if len(kept) > 1 and _goes_on(kept[-2], kept[-1], point):
            kept.pop()
        kept.append(point)
    return kept


def _goes_on(first: Point, middle: Point, last: Point) -> bool:
    """Return true if three points are in one line and direction."""
    ax, ay = middle[0] - first[0], middle[1] - first[1]
    bx, by = last[0] - middle[0], last[1] - middle[1]
    return ax * by == ay * bx and ax * bx + ay * by > 0


def _pair(x: int, y: int) -> str:
    second = _tenths(y)
    return _tenths(x) + ("" if second.startswith("-") else " ") + second


def _tenths(number: int) -> str:
    return f"{number / 10:.1f}".removesuffix(".0")
