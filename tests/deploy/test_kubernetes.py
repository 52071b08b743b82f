"""deploy/kubernetes: rendered as kubectl does, valid for Kubernetes, closed, and of parts that exist."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from metering.health import HEALTH_PATHS
from phonemeter.cli.program import COMMANDS
from phonemeter.settings import Settings, variable
from phonemeter.stack.services import STAGES
from tools import kustomize, prometheus_rule

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
VERSIONS = ("1.30", "1.37")
"""The oldest version that the manifests are for, and the newest that the validator knows."""

CUSTOM = {"PodMonitor", "ScaledObject", "PrometheusRule"}
"""Kinds of operators; Kubernetes has no schema of them."""

PORTS = {
    "worker": ("worker_port",),
    "sink": ("sink_metrics_port",),
    "settler": ("settler_port",),
    "notifier": ("notifier_port",),
    "audit": ("audit_port",),
    "gateway": ("gateway_metrics_port", "gateway_port"),
    "console": ("console_metrics_port", "console_port"),
    "wechat": ("wechat_port", "wechat_push_port"),
}

Document = dict[str, Any]


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    """The example overlay, rendered."""
    ran = subprocess.run(
        [*kustomize.command(), str(KUBERNETES / "example")], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == "", "kustomize warns"
    return list(yaml.safe_load_all(ran.stdout))


@pytest.fixture(scope="module")
def workloads(documents: list[Document]) -> dict[str, Document]:
    """The specification of the pods of each component."""
    return {
        one["metadata"]["labels"]["app.kubernetes.io/component"]: one["spec"]["template"]["spec"]
        for one in documents
        if one["kind"] in {"Deployment", "Job"}
    }


def container(pod: Document) -> Document:
    (only,) = pod["containers"]
    found: Document = only
    return found


def of_kind(documents: list[Document], kind: str) -> dict[str, Document]:
    return {one["metadata"]["name"]: one for one in documents if one["kind"] == kind}


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_every_document(documents: list[Document], version: str) -> None:
    for one in documents:
        if one["kind"] not in CUSTOM:
            kubernetes_validate.validate(one, version, strict=True)


def test_every_service_of_the_stack_has_a_workload(workloads: dict[str, Document]) -> None:
    assert set(workloads) == {*STAGES, "audit", "topics"} - {"wechat-sim"}
    for component, pod in workloads.items():
        command, *options = container(pod)["args"]
        assert command == component
        assert command in {one.name for one in COMMANDS}
        assert options == (["--every", "1h"] if component == "audit" else [])


def test_every_pod_is_as_closed_as_pod_security_restricted_asks(workloads: dict[str, Document]) -> None:
    for pod in workloads.values():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 10001
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container(pod)["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert pod["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        assert {"cpu", "memory"} == set(container(pod)["resources"]["requests"])
        assert "memory" in container(pod)["resources"]["limits"]
        assert not any("hostPath" in volume for volume in pod["volumes"])


def test_probes_ask_pages_of_health_and_ports_are_those_of_the_settings(
    workloads: dict[str, Document],
) -> None:
    assert {"topics", *PORTS} == set(workloads)
    for component, settings in PORTS.items():
        one = container(workloads[component])
        probes = {name: one[f"{name}Probe"]["httpGet"] for name in ("startup", "readiness", "liveness")}
        assert {name: probe["path"] for name, probe in probes.items()} == {
            "startup": "/livez",
            "readiness": "/readyz",
            "liveness": "/livez",
        }
        assert {probe["path"] for probe in probes.values()} <= set(HEALTH_PATHS)
        assert {probe["port"] for probe in probes.values()} == {"metrics"}
        assert {port["name"]: port["containerPort"] for port in one["ports"]} == dict(
            zip(("metrics", "http"), (Settings.model_fields[name].default for name in settings), strict=False)
        )


def test_the_longest_stop_fits_into_its_grace_period(workloads: dict[str, Document]) -> None:
    for component in ("gateway", "console"):
        pod = workloads[component]
        assert (
            container(pod)["lifecycle"]["preStop"]["sleep"]["seconds"] + 20
            <= pod["terminationGracePeriodSeconds"]
        )


def test_settings_and_secrets_are_settings_and_every_reference_has_what_it_names(
    documents: list[Document], workloads: dict[str, Document]
) -> None:
    known = {variable(name) for name in Settings.model_fields} | {"PHONEMETER_SECRETS"}
    configs, secrets = of_kind(documents, "ConfigMap"), of_kind(documents, "Secret")
    (settings,) = (one for name, one in configs.items() if name.startswith("phonemeter-settings"))
    assert set(settings["data"]) <= known
    assert {key for secret in secrets.values() for key in secret["data"]} <= {name.lower() for name in known}
    used = set()
    for pod in workloads.values():
        one = container(pod)
        mounts = {mount["name"]: mount["mountPath"] for mount in one["volumeMounts"]}
        assert mounts["secrets"] == settings["data"]["PHONEMETER_SECRETS"]
        assert mounts.keys() == {volume["name"] for volume in pod["volumes"]}
        assert {entry["name"] for entry in one.get("env", ())} <= known
        assert one["envFrom"][0]["configMapRef"]["name"] == settings["metadata"]["name"]
        for volume in pod["volumes"]:
            if "secret" in volume:
                used.add(volume["secret"]["secretName"])
                assert volume["secret"]["optional"] or volume["secret"]["secretName"] in secrets
            if "configMap" in volume:
                assert volume["configMap"]["name"] in configs
    assert set(secrets) <= used


def test_nothing_secret_is_in_settings_or_written_down(documents: list[Document]) -> None:
    secret = {
        variable(name)
        for name, field in Settings.model_fields.items()
        if isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("secret")
    }
    for one in of_kind(documents, "ConfigMap").values():
        assert not secret & set(one["data"])
    for file in (KUBERNETES / "example" / "secrets").iterdir():
        urls = re.findall(r"//\w+:([^@]+)@", file.read_text(encoding="utf-8"))
        assert set(urls) == {"CHANGE-ME"}


def test_budgets_services_and_policies_select_pods_that_exist(
    documents: list[Document], workloads: dict[str, Document]
) -> None:
    budgets = of_kind(documents, "PodDisruptionBudget")
    assert set(budgets) == {f"phonemeter-{name}" for name in PORTS}
    for name, one in budgets.items():
        assert one["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"] == name.removeprefix(
            "phonemeter-"
        )
    for name, service in of_kind(documents, "Service").items():
        component = service["spec"]["selector"]["app.kubernetes.io/component"]
        assert name == f"phonemeter-{component}"
        ports = {port["name"] for port in container(workloads[component])["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    for policy in of_kind(documents, "NetworkPolicy").values():
        for expression in policy["spec"]["podSelector"].get("matchExpressions", ()):
            assert set(expression["values"]) <= set(workloads)


def test_the_image_is_named_once_with_our_version_and_uid(documents: list[Document]) -> None:
    images = {
        container(one["spec"]["template"]["spec"])["image"]
        for one in documents
        if one["kind"] in {"Deployment", "Job"}
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert images == {f"registry.example.com/phonemeter:{project['version']}"}
    assert "USER 10001:10001" in (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_scaling_goes_by_metrics_that_exist_up_to_the_partitions(documents: list[Document]) -> None:
    metrics = (ROOT / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
    deployments, scaled = of_kind(documents, "Deployment"), of_kind(documents, "ScaledObject")
    assert set(scaled) == {"phonemeter-worker", "phonemeter-sink"}
    for name, one in scaled.items():
        assert one["spec"]["scaleTargetRef"]["name"] == name
        assert "replicas" not in deployments[name]["spec"]
        assert one["spec"]["maxReplicaCount"] == Settings.model_fields["partitions"].default
        (query,) = (trigger["metadata"]["query"] for trigger in one["spec"]["triggers"])
        assert all(f"| `{metric}` |" in metrics for metric in re.findall(r"phonemeter_\w+", query))


def test_the_rules_are_those_of_prometheus_for_its_operator() -> None:
    files = sorted((ROOT / "deploy/prometheus/rules").glob("*.yml"))
    groups = [group for file in files for group in yaml.safe_load(file.read_text("utf-8"))["groups"]]
    made = yaml.safe_load(prometheus_rule.text())
    assert (made["apiVersion"], made["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
    assert made["spec"] == {"groups": groups}
    assert len(groups) >= len(files) > 1


def test_the_monitor_names_jobs_as_prometheus_does(documents: list[Document]) -> None:
    (monitor,) = of_kind(documents, "PodMonitor").values()
    assert monitor["spec"]["jobLabel"] == "app.kubernetes.io/component"
    assert [one["port"] for one in monitor["spec"]["podMetricsEndpoints"]] == ["metrics"]
    scraped = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text(encoding="utf-8"))
    assert set(PORTS) <= {one["job_name"] for one in scraped["scrape_configs"]}
