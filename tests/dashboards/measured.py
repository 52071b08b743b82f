"""A real Prometheus that has seen every metric of ours for half an hour, with values made here."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Final

from phonemeter.metrics import Metric, listed
from tests.waiting import blocking_until, is_served
from tools.prometheus import program

FOR_S: Final = 30 * 60
EVERY_S: Final = 15
BUCKETS: Final = ("0.1", "1", "10", "1000", "+Inf")
OTHERS: Final = (
    Metric("worker", "up", "gauge", ("job",), "", ""),
    Metric("worker", "process_start_time_seconds", "gauge", ("job",), "", ""),
)
"""Labels that Prometheus and its client add."""


@contextmanager
def measured(directory: Path, until_s: int, free_port: Callable[[], int]) -> Iterator[str]:
    """The address of such a Prometheus; it has seen them until then."""
    exported = directory / "exported.txt"
    exported.write_text("".join(_family(one, until_s) for one in (*listed(), *OTHERS)) + "# EOF\n")
    blocks = directory / "blocks"
    subprocess.run(
        [program("promtool"), "tsdb", "create-blocks-from", "openmetrics", exported, blocks],
        check=True,
        capture_output=True,
    )
    (directory / "prometheus.yml").write_text("{}")
    url = f"127.0.0.1:{free_port()}"
    command = [
        program("prometheus"),
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={blocks}",
        "--storage.tsdb.retention.time=100y",
        f"--web.listen-address={url}",
    ]
    with (directory / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            blocking_until(lambda: is_served(f"http://{url}/-/ready"))
            yield f"http://{url}"
        finally:
            process.kill()


def _family(metric: Metric, until_s: int) -> str:
    """A metric as it was exported, again and again; two values of each label."""
    family = metric.name.removesuffix("_total")
    lines = [f"# TYPE {family} {metric.kind}\n"]
    for values in product((0, 1), repeat=len(metric.labels)):
        labels = {name: f"{name}-{value}" for name, value in zip(metric.labels, values, strict=True)}
        for n, at_s in enumerate(range(until_s - FOR_S, until_s, EVERY_S)):
            lines += _samples(metric, labels, (n + 1) * 1_500.5, at_s)
    return "".join(lines)


def _samples(metric: Metric, labels: dict[str, str], reached: float, at_s: int) -> Iterator[str]:
    if metric.kind != "histogram":
        yield _sample(metric.name, labels, reached, at_s)
        return
    for n, bound in enumerate(BUCKETS, 1):
        yield _sample(f"{metric.name}_bucket", labels | {"le": bound}, reached * n, at_s)
    yield _sample(f"{metric.name}_count", labels, reached * len(BUCKETS), at_s)
    yield _sample(f"{metric.name}_sum", labels, reached, at_s)


def _sample(name: str, labels: dict[str, str], value: float, at_s: int) -> str:
    told = ",".join(f'{label}="{of}"' for label, of in labels.items())
    return f"{name}{{{told}}} {value} {at_s}\n"
