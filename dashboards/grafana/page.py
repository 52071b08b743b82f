"""The common parts of all pages: time zone, variables, annotations, and links to each other."""

from typing import Final

from grafana_foundation_sdk.builders.dashboard import (
    AnnotationQuery,
    Dashboard,
    DashboardLink,
    QueryVariable,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from dashboards.grafana.clickhouse import SOURCE, ClickHouseTarget, statement
from dashboards.grafana.panels import Page
from dashboards.grafana.words import LANGUAGES, Words

TITLES: Final = {
    "fleet": "All apps",
    "app": "One app",
    "pipeline": "Pipeline health",
    "money": "Money and lapses",
}
"""Every page by the name of its file, in the order of its links."""

_NOTES: Final = {
    "note_purchases": ("Purchases", "green"),
    "note_expiries": ("Expiries", "orange"),
    "note_alerts": ("Alerts", "red"),
}


def uid(page: str, language: str) -> str:
    """The id of a page, which is its address."""
    return f"phonemeter-{page}-{language}"


def start(t: Words, page: str, about: str, *, since: str, until: str = "now") -> Page:
    """An empty page."""
    board = (
        Dashboard(f"phonemeter · {t(TITLES[page])}")
        .uid(uid(page, t.language)).description(t(about)).tags(["phonemeter", t.language])
        .timezone("Asia/Shanghai").week_start("monday").readonly().refresh("1m").version(1)
        .tooltip(DashboardCursorSync.CROSSHAIR).time(since, until)
    )  # fmt: skip
    for other, title in TITLES.items():
        if other != page:
            board.link(_link(t(title), uid(other, t.language), variables=other != "pipeline"))
    for language, name in LANGUAGES.items():
        if language != t.language:
            board.link(_link(name, uid(page, language), variables=True))
    return Page(t, board)


def app_link(t: Words) -> str:
    """The address of the page of a row's app, with the time range kept; the row says which in its `appid`."""
    return f"/d/{uid('app', t.language)}?var-app=${{__data.fields.appid}}&${{__url_time_range}}"


def choice(t: Words, name: str, label: str, *, multi: bool) -> QueryVariable:
    """A variable whose choices come from ClickHouse."""
    sql = statement(f"var_{name}")
    variable = (
        QueryVariable(name)
        .label(t(label)).datasource(SOURCE).query(sql).definition(sql)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).sort(VariableSort.ALPHABETICAL_ASC)
        .multi(multi).include_all(multi).allow_custom_value(allow_custom_value=False)
    )  # fmt: skip
    if multi:
        variable.current(VariableOption(selected=True, text=["All"], value=["$__all"]))
    return variable


def note(t: Words, name: str) -> AnnotationQuery:
    """Annotations of the curves: purchases, expiries, alerts."""
    title, color = _NOTES[name]
    return (
        AnnotationQuery()
        .name(t(title))
        .datasource(SOURCE)
        .enable(enable=True)
        .icon_color(color)
        .target(ClickHouseTarget(name))
    )


def _link(title: str, to: str, *, variables: bool) -> DashboardLink:
    return (
        DashboardLink(title)
        .type(DashboardLinkType.LINK).url(f"/d/{to}").icon("dashboard")
        .keep_time(keep_time=True).include_vars(variables).as_dropdown(as_dropdown=False).target_blank(target_blank=False).tooltip("").tags([])
    )  # fmt: skip
