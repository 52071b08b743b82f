"""Titles, names and units of every panel in both languages, as Grafana's own `@grafana/data` shows them."""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from dashboards.grafana.panels import TEXT, TIME
from metering.times import DAY_MS
from tests.dashboards.measured import measured
from tests.real_parts import starts_real_parts
from tools.pictures import drawing
from tools.pictures.answers import Answers
from tools.pictures.grafana_data import Field, GrafanaData, Shown
from tools.pictures.half_year import DAYS, START_MS
from tools.pictures.half_year_engine import half_year_engine
from tools.pictures.pages import PAGES, Json, committed, panels

SEPARATED = {"locale", "currency:financial:¥"}
"""Units whose numbers have separators of thousands; those of the others are never that large."""
OTHERS = {"percent", "dateTimeAsIso", "s", "bytes", "count:/s"}
MOMENT = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)?")


class Seen(NamedTuple):
    """A page and its panels as they are seen."""

    language: str
    page: str
    panels: list[tuple[Json, Shown]]

    def panel(self, title: str) -> Shown:
        (found,) = [shown for panel, shown in self.panels if panel["title"] == title]
        return found


@pytest.fixture(scope="module")
@starts_real_parts
def grafana() -> Iterator[GrafanaData]:
    with GrafanaData() as running:
        yield running


@pytest.fixture(scope="module")
@starts_real_parts
def sources(
    tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]
) -> Iterator[tuple[str, str]]:
    """ClickHouse with the simulated half-year, and Prometheus."""
    directory, until_s = tmp_path_factory.mktemp("prometheus"), (START_MS + DAYS * DAY_MS) // 1_000
    with half_year_engine() as url, measured(directory, until_s, free_port) as prometheus:
        yield url, prometheus


@pytest.fixture(scope="module")
def all_seen(grafana: GrafanaData, sources: tuple[str, str]) -> dict[tuple[str, str], Seen]:
    found = {}
    for language, page in PAGES:
        board = committed(language, page)
        answers = Answers(page, *sources, board["time"], (START_MS, DAYS))
        shown = [(panel, grafana.shown(panel, answers.frames(panel))) for panel in panels(board)]
        found[language, page] = Seen(language, page, shown)
    return found


@pytest.fixture(params=PAGES, ids="-".join)
def seen(request: pytest.FixtureRequest, all_seen: dict[tuple[str, str], Seen]) -> Seen:
    return all_seen[request.param]


def of_prometheus(panel: Json) -> bool:
    return "expr" in panel["targets"][0]


def is_said_in_words(field: Field, panel: Json) -> bool:
    overrides = [one for one in panel["fieldConfig"]["overrides"] if one["matcher"]["options"] == field.name]
    return any(one["id"] == "mappings" for override in overrides for one in override["properties"])


def test_a_name_is_shown_as_it_is_or_in_words_whatever_it_consists_of(seen: Seen) -> None:
    for panel, shown in seen.panels:
        for field in shown.fields:
            if field.type == "string":
                assert field.unit == TEXT, (panel["title"], field.name)
                if not is_said_in_words(field, panel):
                    assert field.texts == field.values, (panel["title"], field.name)
                elif field.name != "outcome_errno":
                    assert not set(field.texts) & set(field.values) - {""}, (panel["title"], field.texts)


def test_a_number_is_shown_as_a_number_with_a_unit_and_separators_of_thousands(seen: Seen) -> None:
    for panel, shown in seen.panels:
        numbers = [field for field in shown.fields if field.type == "number"]
        for field in numbers:
            unit = panel["options"].get("cellValues", {}).get("unit") or field.unit
            assert unit in SEPARATED | OTHERS, (panel["title"], field.name)
            for value, text in zip(field.values, field.texts, strict=True):
                where = (panel["title"], field.name, value, text)
                assert value is None or re.search(r"\d", text), where
                assert "NaN" not in text, where
                assert ":" not in text or field.unit == TIME, where
                large = field.unit in SEPARATED and abs(value or 0) >= 1_000
                assert not large or re.fullmatch(r"¥?-?\d{1,3}(,\d{3})+(\.\d+)?", text), where


def test_a_moment_is_shown_with_its_day_and_time_in_shanghai(seen: Seen) -> None:
    for panel, shown in seen.panels:
        for field in shown.fields:
            if field.type == "time" or field.unit == TIME:
                assert all(MOMENT.fullmatch(text) for text in field.texts), (panel["title"], field.texts[:3])


def test_every_column_and_every_series_has_a_title_and_every_title_its_column(seen: Seen) -> None:
    for panel, shown in seen.panels:
        assert shown.frames, panel["title"]
        assert shown.unmatched == [], panel["title"]
        for field in shown.fields:
            if panel["type"] in ("table", "barchart"):
                assert field.title != field.name, (panel["title"], field.title)
            if panel["type"] in ("timeseries", "state-timeline") and field.type == "number":
                assert not re.search(r"\bValue\b|_", field.title), (panel["title"], field.title)
                assert field.title.strip() == field.title != "", panel["title"]


def test_single_values_are_called_by_what_they_are_of(seen: Seen) -> None:
    for panel, shown in seen.panels:
        if panel["type"] == "stat":
            assert shown.values, panel["title"]
            labels = [field.texts for field in shown.fields if field.type == "string"]
            titles = [value.title for value in shown.values]
            assert titles == (labels[0] if labels else [panel["title"]] * len(titles)), panel["title"]
            assert all(re.search(r"\d", value.text) for value in shown.values), (panel["title"], shown.values)
            assert (panel["options"]["textMode"] == "value_and_name") == bool(labels), panel["title"]


@pytest.mark.parametrize(
    ("language", "titles", "names"),
    [
        ("en", ("Runs out", "Next expiry", "Balance to come"), ["Quick", "Real-time"]),
        ("zh", ("预计用尽", "最近到期", "余量走势预测"), ["快速验证", "实时验证"]),
    ],
)
def test_capabilities_are_called_by_their_names_in_moments_and_curves(
    all_seen: dict[tuple[str, str], Seen], language: str, titles: tuple[str, ...], names: list[str]
) -> None:
    *moments, balance = map(all_seen[language, "app"].panel, titles)
    for shown in moments:
        assert [value.title for value in shown.values] == names
    assert [field.title for _, field in balance.series] == names


def test_a_store_whose_name_is_of_digits_keeps_its_zeros(all_seen: dict[tuple[str, str], Seen]) -> None:
    (place, _) = all_seen["en", "app"].panel("Stores").fields
    assert "00210" in place.texts


def test_an_app_is_called_by_its_name_and_its_row_leads_to_its_page(seen: Seen) -> None:
    linked = 0
    for panel, shown in seen.panels:
        everything = {field.name: field for frame in shown.frames for field in frame.fields}
        if "appid" not in everything:
            continue
        named, appids = everything["label"].texts, everything["appid"].values
        assert all(name and name not in appids for name in named), panel["title"]
        for field in everything.values():
            for (link,), appid in zip(field.links, appids, strict=field.links != []):
                linked += 1
                assert link.startswith(f"/d/phonemeter-app-{seen.language}?var-app={appid}&"), link
    assert bool(linked) == (seen.page in ("fleet", "money"))


def test_the_picture_of_a_page_shows_the_titles_and_numbers_that_grafana_shows(seen: Seen) -> None:
    drawn = drawing.texts(drawing.picture(seen.page, seen.language))
    for panel, shown in seen.panels:
        if panel["type"] == "table":
            assert {field.title for field in shown.fields} <= drawn, panel["title"]
        elif panel["type"] == "stat" and not of_prometheus(panel):
            wanted = {value.text for value in shown.values}
            names = {value.title for value in shown.values} if len(shown.values) > 1 else set()
            assert wanted | names <= drawn, panel["title"]
        elif panel["type"] == "timeseries" and not panel["targets"][0].get("legendFormat", "").startswith(
            "{{"
        ):
            assert shown.series[0][1].title in drawn, panel["title"]
