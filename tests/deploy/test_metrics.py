"""The list of metrics: the page is made from it, names follow the conventions, services serve it."""

import re
import subprocess
import typing
import urllib.request

import pytest
from prometheus_client import generate_latest

from dashboards.console import metrics as console
from dashboards.http import metrics as reads
from dashboards.wechat_pay import metrics as wechat_pay
from phonemeter.audit import metrics as audit
from phonemeter.engine import metrics as engine
from phonemeter.metrics import PAGE, Metric, listed, page, registries
from phonemeter.stack.stack import Stack
from producers import metrics as emit
from producers.gateway import metrics as gateway
from producers.wechat import metrics as wechat
from sinks import metrics as sink
from sinks.balances import metrics as balances
from sinks.notifier import metrics as notifier
from sinks.settler import metrics as settler
from streams import metrics as worker
from tools.prometheus import program

MODULES = {
    "worker": worker,
    "sink": sink,
    "audit": audit,
    "settler": settler,
    "notifier": notifier,
    "wechat": wechat,
    "gateway": gateway,
    "console": console,
    "reads": reads,
    "engine": engine,
    "emit": emit,
}
PARTS = {"gateway": (balances,), "console": (wechat_pay,)}
"""Parts of a service, with metrics of their own."""

PER_APP = {
    "phonemeter_app_calls_left",
    "phonemeter_app_run_out_seconds",
    "phonemeter_app_difference_calls",
    "phonemeter_app_difference_seconds",
}
METRICS = listed()


def lint(text: bytes) -> None:
    """Hold an exposition against the conventions of Prometheus."""
    checked = subprocess.run(
        [program("promtool"), "check", "metrics"], input=text, capture_output=True, check=False
    )
    assert checked.returncode == 0, checked.stderr.decode()


def test_the_page_shows_the_list() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m phonemeter.metrics"


@pytest.mark.parametrize("service", MODULES)
def test_a_service_exports_the_names_of_its_type_and_no_others(service: str) -> None:
    names = {metric.name for metric in METRICS if metric.service == service}
    parts = (MODULES[service], *PARTS.get(service, ()))
    assert names == {name for part in parts for name in typing.get_args(part.MetricName)}


@pytest.mark.stack
@pytest.mark.parametrize("service", MODULES)
def test_names_and_meanings_follow_the_conventions(service: str) -> None:
    lint(generate_latest(registries()[service]))


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: str(metric.name))
def test_a_metric_is_named_for_its_service_and_explained(metric: Metric) -> None:
    assert metric.name.startswith((f"phonemeter_{metric.service}_", "phonemeter_app", "phonemeter_balances_"))
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert len(metric.meaning) >= 10
    assert not metric.meaning.endswith(".")


def test_every_label_has_its_bound_on_the_page_and_apps_are_labels_of_the_nearest_only() -> None:
    rows = re.findall(r"^\| `(\w+)` \| .+ \| (.+) \|$", by_hand(), flags=re.MULTILINE)
    explained = {
        label for label, most in rows if re.search(r"\d", most) or most == "the setting `partitions`"
    }
    assert {label for metric in METRICS for label in metric.labels} == explained
    assert {metric.name for metric in METRICS if "appid" in metric.labels} == PER_APP


def by_hand() -> str:
    return PAGE.read_text(encoding="utf-8").split("## Worker")[0]


def served(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as response:  # noqa: S310 - our own service on loopback
        text: bytes = response.read()
    return text


@pytest.mark.parametrize("service", ["worker", "sink", "engine"])
def test_what_a_running_service_serves_is_valid_listed_and_has_its_process(
    stack: Stack, service: str
) -> None:
    port = {
        "worker": stack.settings.worker_port,
        "sink": stack.settings.sink_metrics_port,
        "engine": stack.settings.engine_http_port,
    }[service]
    text = served(f"http://127.0.0.1:{port}/metrics")
    lint(text)
    families = set(re.findall(r"^# TYPE (\w+) ", text.decode(), flags=re.MULTILINE))
    ours = {name for name in families if name.startswith("phonemeter_") and not name.endswith("_created")}
    assert ours == {metric.name for metric in METRICS if metric.service == service} | {
        "phonemeter_build_info"
    }
    assert "process_start_time_seconds" in families
