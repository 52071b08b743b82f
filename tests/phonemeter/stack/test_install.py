"""Kafka's jars: the locked ones or none, from where the user's Maven would take them."""

import hashlib
import tomllib
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from phonemeter.errors import OperationError
from phonemeter.stack.kafka.download import MAVEN_SETTINGS, repositories
from phonemeter.stack.kafka.install import KAFKA, installed_libs

JAR = b"PK jar of a test"
PATH = "org/example/tried/1.0/tried-1.0.jar"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Be quiet."""


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[str]:
    """A Maven repository with one jar, served on loopback."""
    jar = tmp_path / "served" / PATH
    jar.parent.mkdir(parents=True)
    jar.write_bytes(JAR)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "served"))) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    (home / ".m2").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    for name in ("M2_REPO", "XDG_CONFIG_HOME", "JGO_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    return home


def settings(home: Path, url: str, mirror_of: str = "*") -> None:
    (home / ".m2/settings.xml").write_text(
        '<settings xmlns="http://maven.apache.org/SETTINGS/1.2.0"><mirrors><mirror><id>one</id>'
        f"<mirrorOf>{mirror_of}</mirrorOf><url>{url}/</url></mirror></mirrors></settings>"
    )


def locked(tmp_path: Path, jar: bytes = JAR, version: str = "1.0") -> Path:
    lock = tmp_path / "tried" / "jgo.lock.toml"
    lock.parent.mkdir()
    lock.write_text(
        f'[[dependencies]]\ngroupId = "org.example"\nartifactId = "tried"\nversion = "{version}"\n'
        f'packaging = "jar"\nsha256 = "{hashlib.sha256(jar).hexdigest()}"\n'
    )
    return lock


def test_jars_come_from_the_mirror_that_maven_is_told_of_and_are_fetched_once(
    tmp_path: Path, home: Path, repository: str
) -> None:
    settings(home, repository)
    libs = installed_libs(tmp_path / "cache", locked(tmp_path))
    assert [(path.name, path.read_bytes()) for path in libs.iterdir()] == [("tried-1.0.jar", JAR)]
    settings(home, "http://127.0.0.1:9")
    assert installed_libs(tmp_path / "cache", tmp_path / "tried/jgo.lock.toml") == libs


def test_a_jar_that_maven_has_already_needs_no_network(tmp_path: Path, home: Path) -> None:
    settings(home, "http://127.0.0.1:9")
    there = home / ".m2/repository" / PATH
    there.parent.mkdir(parents=True)
    there.write_bytes(JAR)
    libs = installed_libs(tmp_path / "cache", locked(tmp_path))
    assert (libs / "tried-1.0.jar").read_bytes() == JAR


def test_another_jar_than_the_locked_one_is_refused_and_nothing_looks_installed(
    tmp_path: Path, home: Path, repository: str
) -> None:
    settings(home, repository)
    cache = tmp_path / "cache"
    with pytest.raises(OperationError, match=r"tried-1\.0\.jar is not what was locked"):
        installed_libs(cache, locked(tmp_path, b"the right one"))
    assert [path.name for path in cache.iterdir()] == ["download.lock"]


def test_a_jar_that_is_not_to_be_had_is_told_in_a_sentence_and_nothing_looks_installed(
    tmp_path: Path, home: Path, repository: str
) -> None:
    settings(home, repository)
    cache = tmp_path / "cache"
    with pytest.raises(OperationError, match=r"check the network, or name a mirror .* tried-2.0.jar") as said:
        installed_libs(cache, locked(tmp_path, version="2.0"))
    assert "Traceback" not in str(said.value)
    assert [path.name for path in cache.iterdir()] == ["download.lock"]


@pytest.mark.parametrize("mirror_of", ["*", "central", "external:*", "other, central", "*,!other"])
def test_a_mirror_of_the_central_repository_stands_for_it(home: Path, mirror_of: str) -> None:
    settings(home, "http://127.0.0.1:1", mirror_of)
    assert repositories({}) == {"central": "http://127.0.0.1:1"}


@pytest.mark.parametrize("mirror_of", ["other", "*,!central", "external:http:*"])
def test_a_mirror_of_something_else_does_not(
    home: Path, monkeypatch: pytest.MonkeyPatch, mirror_of: str
) -> None:
    monkeypatch.setattr("phonemeter.stack.kafka.download.MAVEN_SETTINGS", MAVEN_SETTINGS[:1])
    settings(home, "http://127.0.0.1:1", mirror_of)
    assert "127.0.0.1" not in repositories({})["central"]


def test_a_repository_of_jgos_own_configuration_goes_before_mavens(home: Path) -> None:
    settings(home, "http://127.0.0.1:1")
    assert repositories({"central": "http://127.0.0.1:2"}) == {"central": "http://127.0.0.1:2"}


def test_the_lock_file_is_of_the_versions_that_are_asked_for() -> None:
    """The resolver can mix the versions of Kafka's own parts, see `jgo.toml`."""
    asked = KAFKA.with_name("jgo.toml").read_bytes()
    lock = tomllib.loads(KAFKA.read_text(encoding="utf-8"))
    assert lock["metadata"]["spec_hash"] == hashlib.sha256(asked).hexdigest()[:16]
    kafka = [jar for jar in lock["dependencies"] if jar["groupId"] == "org.apache.kafka"]
    assert {jar["version"] for jar in kafka} == {"4.3.1"}
    assert {"kafka-clients", "kafka_2.13"} <= {jar["artifactId"] for jar in kafka}
    assert all(len(jar["sha256"]) == 64 for jar in lock["dependencies"])
