"""Prometheus's rules: each alert fires when it must and only then, on metrics that exist, with a runbook."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from phonemeter.metrics import listed
from phonemeter.settings import Settings
from phonemeter.stack.services import PORTS
from tests.deploy.cases import CASES, Series
from tools.prometheus import program

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
RULES = sorted((DEPLOY / "prometheus/rules").glob("*.yml"))
FOREIGN = {
    "up",
    "process_start_time_seconds",
    "ClickHouseAsyncMetrics_DiskAvailable_default",
    "ClickHouseAsyncMetrics_DiskTotal_default",
}
"""Metrics of Prometheus itself, of prometheus-client and of ClickHouse's server."""


def rules(kind: str) -> dict[str, dict[str, Any]]:
    files = [yaml.safe_load(file.read_text(encoding="utf-8")) for file in RULES]
    groups = [group for file in files for group in file["groups"]]
    found = [rule for group in groups for rule in group["rules"] if kind in rule]
    assert len({rule[kind] for rule in found}) == len(found)
    return {rule[kind]: rule for rule in found}


ALERTS = rules("alert")
RECORDED = rules("record")


def promtool(*arguments: str | Path, stdin: str = "") -> str:
    done = subprocess.run(
        [program("promtool"), *map(str, arguments)], input=stdin, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.stack
def test_promtool_and_amtool_find_nothing_wrong_with_the_configuration() -> None:
    promtool("check", "config", DEPLOY / "prometheus/prometheus.yml")
    promtool("check", "rules", *RULES)
    checked = subprocess.run(
        [program("amtool"), "check-config", DEPLOY / "alertmanager/alertmanager.yml"],
        capture_output=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


def unit_test(series: Series, at: str, expr: str, samples: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "interval": "30s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": expr, "eval_time": at, "exp_samples": samples}],
    }


def run_unit_tests(tmp_path: Path, tests: list[dict[str, Any]]) -> None:
    file = tmp_path / "tests.yml"
    told = {"rule_files": [str(rule) for rule in RULES], "evaluation_interval": "30s", "tests": tests}
    file.write_text(yaml.safe_dump(told), encoding="utf-8")
    promtool("test", "rules", file)


def test_every_alert_is_tried_and_no_other() -> None:
    assert sorted(CASES) == sorted(ALERTS)


@pytest.mark.stack
@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_fires_when_it_must_and_only_then(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    firing = f'count(ALERTS{{alertname="{name}",alertstate="firing"}})'
    ever = f'count_over_time(ALERTS{{alertname="{name}",alertstate="firing"}}[{case.at}])'
    run_unit_tests(
        tmp_path,
        [
            unit_test(case.fires, case.at, firing, [{"labels": "{}", "value": 1}]),
            unit_test(case.quiet, case.at, ever, []),
        ],
    )


@pytest.mark.stack
def test_what_an_alert_says_names_whom_it_is_about(tmp_path: Path) -> None:
    series = {'phonemeter_app_run_out_seconds{appid="wx1",capability="quick"}': "172800x100"}
    told = unit_test(series, "35m", "absent(nothing)", [{"labels": "{}", "value": 1}])
    told["alert_rule_test"] = [
        {
            "eval_time": "35m",
            "alertname": "PhonemeterAppRunsOut",
            "exp_alerts": [
                {
                    "exp_labels": {"severity": "warning", "appid": "wx1", "capability": "quick"},
                    "exp_annotations": {
                        "summary": "wx1 runs out of quick calls in 2d 0h 0m 0s.",
                        "description": "At the pace of the last weeks wx1 has no calls left from then on, "
                        "and the platform refuses authorizations.",
                        "runbook_url": "docs/how-to/runbooks.md#phonemeterapprunsout",
                    },
                }
            ],
        }
    ]
    run_unit_tests(tmp_path, [told])


@pytest.mark.stack
def test_recorded_quantiles_and_ratios_are_what_they_are_called(tmp_path: Path) -> None:
    series = {
        'phonemeter_worker_records_total{partition="0"}': "0+60x20",
        'phonemeter_worker_records_total{partition="1"}': "0+30x20",
        'phonemeter_worker_ledger_entries_total{kind="duplicate"}': "0+9x20",
        'phonemeter_sink_freshness_seconds_bucket{le="1"}': "0+90x20",
        'phonemeter_sink_freshness_seconds_bucket{le="5"}': "0+100x20",
        'phonemeter_sink_freshness_seconds_bucket{le="+Inf"}': "0+100x20",
    }
    expected = {
        "phonemeter:worker_records:rate5m": 3,
        "phonemeter:worker_duplicates:ratio5m": 0.1,
        "phonemeter:sink_freshness_seconds:p50": 0.5 / 0.9,
        "phonemeter:sink_freshness_seconds:p99": 4.6,
    }
    run_unit_tests(
        tmp_path,
        [
            unit_test(series, "10m", f"round({name}, 0.0001)", [{"labels": "{}", "value": round(value, 4)}])
            for name, value in expected.items()
        ],
    )


def named(expr: str) -> set[str]:
    """The metrics of an expression: words that are neither functions, labels nor words of the language."""
    ungrouped = re.sub(r"\b(?:by|on) \([^)]*\)", "", expr)
    bare = re.sub(r'\{[^}]*\}|\[[^]]*\]|"[^"]*"|offset \d+[smhd]', "", ungrouped)
    words = re.findall(r"[a-zA-Z_][\w:]*(?!\w*\s*\()\b", bare)
    return {word for word in words if word not in {"and", "or", "unless", "by", "on", "sum", "time"}}


def existing() -> set[str]:
    suffixes = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}
    return {one.name + suffix for one in listed() for suffix in suffixes[one.kind]} | FOREIGN | set(RECORDED)


@pytest.mark.parametrize("rule", [*ALERTS.values(), *RECORDED.values()], ids=lambda rule: rule.get("alert"))
def test_a_rule_is_about_metrics_that_exist(rule: dict[str, Any]) -> None:
    assert named(rule["expr"])
    assert named(rule["expr"]) <= existing()


def test_recording_rules_are_named_by_level_metric_and_operation() -> None:
    assert all(re.fullmatch(r"phonemeter:[a-z0-9_]+:[a-z0-9]+", name) for name in RECORDED)


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_has_a_severity_sentences_and_a_section_in_the_runbooks(name: str) -> None:
    rule = ALERTS[name]
    assert rule["labels"]["severity"] in {"critical", "warning"}
    told = rule["annotations"]
    assert set(told) == {"summary", "description", "runbook_url"}
    assert told["summary"].endswith(".")
    assert told["description"].endswith(".")
    assert told["runbook_url"] == f"docs/how-to/runbooks.md#{name.lower()}"
    section = sections()[name]
    assert "\n- See: " in section
    assert "\n- Do: " in section


def sections() -> dict[str, str]:
    _, *parts = (ROOT / "docs/how-to/runbooks.md").read_text(encoding="utf-8").split("\n## ")
    return {part.partition("\n")[0]: part.partition("\n")[2] for part in parts}


def test_every_runbook_is_about_an_alert() -> None:
    assert list(sections()) == list(ALERTS)


def route(labels: str) -> str:
    config = DEPLOY / "alertmanager/alertmanager.yml"
    asked = [program("amtool"), "config", "routes", "test", f"--config.file={config}", *labels.split()]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.stack
def test_what_is_critical_wakes_somebody_and_the_rest_waits_on_the_desk() -> None:
    assert route("alertname=PhonemeterAuditDrift severity=critical") == "on-call"
    assert route("alertname=PhonemeterSinkBehind severity=warning") == "desk"


def test_what_silences_and_is_silenced_are_alerts() -> None:
    config = yaml.safe_load((DEPLOY / "alertmanager/alertmanager.yml").read_text(encoding="utf-8"))
    matchers = [
        matcher
        for rule in config["inhibit_rules"]
        for side in ("source_matchers", "target_matchers")
        for matcher in rule[side]
        if matcher.startswith("alertname")
    ]
    names = {name for matcher in matchers for name in re.findall(r"Phonemeter\w+", matcher)}
    assert names <= set(ALERTS)
    assert len(matchers) == 2 * len(config["inhibit_rules"])


def test_prometheus_scrapes_the_services_where_they_listen() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text(encoding="utf-8"))
    targets = {
        job["job_name"]: target
        for job in config["scrape_configs"]
        for one in job.get("static_configs", ())
        for target in one["targets"]
    }
    for job in config["scrape_configs"]:
        for one in job.get("dns_sd_configs", ()):
            assert one["type"] == "A"
            (name,) = one["names"]
            targets[job["job_name"]] = f"{name}:{one['port']}"
    assert len(targets) == len(config["scrape_configs"])
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    assert targets.keys() <= compose.keys()
    for job, target in targets.items():
        host, _, port = target.partition(":")
        assert host == job
        if job in PORTS:
            assert int(port) in {Settings.model_fields[field].default for field in PORTS[job]}
        elif job != "clickhouse":
            assert compose[job]["ports"] == [f"127.0.0.1:{port}:{port}"]


def test_clickhouse_serves_its_metrics_where_prometheus_asks() -> None:
    server = (DEPLOY / "clickhouse/server.xml").read_text(encoding="utf-8")
    assert "<port>9363</port>" in server
    assert "clickhouse:9363" in (DEPLOY / "prometheus/prometheus.yml").read_text(encoding="utf-8")
