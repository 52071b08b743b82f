"""Grafana's pages: what is committed is what the code builds, complete in both languages, and linked."""

import json
import re
import tomllib
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.builders.dashboard import ThresholdsConfig

from dashboards.grafana import panels as kinds
from dashboards.grafana.clickhouse import statement
from dashboards.grafana.page import TITLES, uid
from dashboards.grafana.pages import BUILDERS, FOLDER, files
from dashboards.grafana.words import CHINESE, LANGUAGES, Words
from metering.rules import Rules
from phonemeter.metrics import listed
from tools.pictures.pages import PAGES, committed, panels, queries

GRAFANA = FOLDER.parent


def provisioned(name: str) -> Any:  # noqa: ANN401 - whatever the file holds
    return yaml.safe_load((GRAFANA / "provisioning" / name / "phonemeter.yml").read_text(encoding="utf-8"))


def test_the_json_is_what_the_code_builds() -> None:
    built = dict(files())
    assert {path: path.read_text(encoding="utf-8") for path in built} == built, (
        "run: python -m dashboards.grafana"
    )
    assert set(FOLDER.glob("**/*.json")) == set(built)


def test_each_page_has_an_address_of_its_own() -> None:
    uids = [committed(language, page)["uid"] for language, page in PAGES]
    assert len(set(uids)) == len(PAGES) == 8
    assert set(TITLES) == set(BUILDERS)


def test_data_sources_and_folders_are_provisioned_for_what_the_pages_use() -> None:
    sources = {(source["type"], source["uid"]) for source in provisioned("datasources")["datasources"]}
    used = {
        (thing["datasource"]["type"], thing["datasource"]["uid"])
        for language, page in PAGES
        for board in [committed(language, page)]
        for panel in panels(board)
        for thing in (panel, *panel["targets"])
    }
    assert used == sources
    folders = [provider["options"]["path"] for provider in provisioned("dashboards")["providers"]]
    assert sorted(path.rpartition("/")[2] for path in folders) == sorted(LANGUAGES)


@pytest.mark.parametrize(("language", "page"), PAGES)
def test_no_panels_overlap_and_no_row_has_a_hole(language: str, page: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in committed(language, page)["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert all(x < 24 for x, _ in cells)
        taken |= cells
    tops: dict[int, int] = {}
    for panel in panels(committed(language, page)):
        tops[panel["gridPos"]["y"]] = tops.get(panel["gridPos"]["y"], 0) + panel["gridPos"]["w"]
    assert set(tops.values()) == {24}


@pytest.mark.parametrize(("language", "page"), PAGES)
def test_each_panel_says_what_it_shows_in_which_unit_and_no_panel_is_a_text(language: str, page: str) -> None:
    board = committed(language, page)
    assert board["timezone"] == "Asia/Shanghai"
    assert board["description"]
    for panel in panels(board):
        assert len(panel["description"]) >= 5, panel["title"]
        assert panel["type"] != "text"
        if panel["type"] not in ("table", "heatmap"):
            assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        if panel["type"] == "stat":
            assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"], panel["title"]


def test_every_text_has_its_chinese_and_no_chinese_is_left_over() -> None:
    used: set[str] = set()

    class Noting(Words):
        def __call__(self, english: str) -> str:
            used.add(english)
            return super().__call__(english)

    for build in BUILDERS.values():
        build(Noting("zh")).build()
    assert used == set(CHINESE)
    listed = (GRAFANA / "chinese.toml").read_text(encoding="utf-8")
    assert len(tomllib.loads(listed)) == listed.count("\n") - 1


def test_the_chinese_pages_are_chinese() -> None:
    names = {"ClickHouse", "worker", "sink"}
    for _, page in [one for one in PAGES if one[0] == "zh"]:
        for panel in committed("zh", page)["panels"]:
            assert re.search(r"[\u4e00-\u9fff]", panel["title"]) or panel["title"] in names, panel["title"]


def test_both_languages_ask_the_same() -> None:
    assert [(one.page, one.source, one.text) for one in queries("en")] == [
        (one.page, one.source, one.text) for one in queries("zh")
    ]


def test_every_query_that_is_shipped_is_used() -> None:
    used = {one.text for one in queries() if one.source != "prometheus"}
    assert {statement(file.stem) for file in (GRAFANA / "queries").glob("*.sql")} == used


def test_each_column_that_is_named_comes_from_the_panels_query() -> None:
    for language, page in PAGES:
        for panel in panels(committed(language, page)):
            texts = " ".join(target.get("rawSql", "") for target in panel["targets"])
            for override in panel["fieldConfig"]["overrides"]:
                name = override["matcher"]["options"]
                values = {"quick", "realtime"}
                assert name in values or re.search(rf"\b{name}\b", texts), (panel["title"], name)


@pytest.mark.parametrize(("language", "page"), PAGES)
def test_each_page_leads_to_the_others_and_keeps_the_time(language: str, page: str) -> None:
    links = committed(language, page)["links"]
    others = [uid(other, language) for other in BUILDERS if other != page]
    same = [uid(page, other) for other in LANGUAGES if other != language]
    assert [link["url"] for link in links] == [f"/d/{address}" for address in others + same]
    assert all(link["keepTime"] for link in links)
    assert all(link["includeVars"] for link in links if "pipeline" not in link["url"])


def test_a_row_of_an_app_leads_to_its_page() -> None:
    for language in LANGUAGES:
        leading = [
            (panel["title"], property_["value"][0]["url"])
            for page in ("fleet", "money")
            for panel in panels(committed(language, page))
            for override in panel["fieldConfig"]["overrides"]
            for property_ in override["properties"]
            if property_["id"] == "links"
        ]
        assert len(leading) == 6
        address = f"/d/{uid('app', language)}?var-app=${{__data.fields.appid}}&${{__url_time_range}}"
        assert {url for _, url in leading} == {address}


@pytest.mark.parametrize(("language", "page"), PAGES)
def test_links_and_marks_are_to_be_seen_on_the_page_and_not_in_a_menu(language: str, page: str) -> None:
    board = committed(language, page)
    for one in board["links"] + board.get("annotations", {}).get("list", []):
        assert "placement" not in one, one
        assert not one.get("hide"), one


def test_purchases_expiries_and_alerts_are_marked_in_the_curves() -> None:
    for language in LANGUAGES:
        for page, marks in (("fleet", 3), ("app", 3), ("money", 2), ("pipeline", 0)):
            assert len(committed(language, page).get("annotations", {}).get("list", [])) == marks


def exported() -> dict[str, set[str]]:
    """Every name of a series that some service exports, as in the code, with its labels."""
    names: dict[str, set[str]] = {}
    for metric in listed():
        for end in ("_bucket", "_sum", "_count") if metric.kind == "histogram" else ("",):
            names[metric.name + end] = {*metric.labels, *({"le"} if end == "_bucket" else ())}
    return names


def test_panels_use_metrics_that_exist_with_labels_that_they_have() -> None:
    known = exported()
    to_prometheus = [one for one in queries() if one.source == "prometheus"]
    assert len(to_prometheus) > 30
    for one in to_prometheus:
        used = set(re.findall(r"phonemeter_\w+", one.text))
        assert used or re.search(r"\b(up|process_start_time_seconds)\b", one.text), one
        assert used <= set(known), (one.by, used - set(known))
        for labels in re.findall(r"by \(([^)]*)\)", one.text):
            assert set(labels.split(", ")) <= set.union(*(known[name] for name in used)), one
        for label in re.findall(r"(\w+)=", one.text):
            assert label in set.union(*(known[name] for name in used)), one


def test_every_metric_of_the_notifier_is_on_the_pipelines_page() -> None:
    text = " ".join(one.text for one in queries() if one.page == "pipeline")
    shown = {name.removesuffix("_bucket") for name in re.findall(r"phonemeter_notifier_\w+", text)}
    assert shown == {one.name for one in listed() if one.name.startswith("phonemeter_notifier_")}


def test_colors_change_at_the_levels_that_alert() -> None:
    def changes(steps: ThresholdsConfig) -> list[float | None]:
        return [step.value for step in steps.build().steps]

    rules = Rules()
    for levels, steps in (
        (rules.alert_levels_percent, kinds.balance_levels()),
        (rules.alert_expiry_days, kinds.expiry_days()),
        ((rules.run_out_lead_days, 0), kinds.run_out_days()),
    ):
        assert changes(steps) == [None, *(level + 0.01 for level in reversed(levels))]
    assert f"toIntervalDay({rules.run_out_lead_days})" in statement("fleet_soon")
    assert f"toIntervalDay({rules.run_out_lead_days})" in statement("fleet_table")
    assert f"left_percent <= {rules.alert_levels_percent[0]}, 'low'" in statement("fleet_table")


def test_money_is_shown_in_yuan_and_computed_in_micro_yuan() -> None:
    for one in queries():
        if one.source == "prometheus" or "micro_yuan" not in one.text:
            continue
        assert "1000000" in one.text, one.by


def test_the_json_is_small() -> None:
    for path, text in files():
        assert len(json.dumps(json.loads(text))) < 60_000, path


def test_an_app_shows_its_packs_as_bars_its_hours_as_heat_and_its_funnel() -> None:
    kinds_of_panels = {panel["type"] for panel in panels(committed("en", "app"))}
    assert kinds_of_panels == {"stat", "state-timeline", "timeseries", "barchart", "heatmap", "table"}
