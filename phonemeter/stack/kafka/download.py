"""Fetch the jars that a lock file names: `python -m phonemeter.stack.kafka.download LOCK DIRECTORY`."""

import hashlib
import shutil
import sys
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from jgo.config import GlobalSettings
from jgo.constants import MAVEN_CENTRAL_URL
from jgo.maven import Artifact, MavenContext
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

AT_ONCE: Final = 4
ATTEMPTS: Final = 3
TIMEOUT_S: Final = 30
MAVEN_SETTINGS: Final = ("~/.m2/settings.xml", "/etc/maven/settings.xml")


class DownloadError(Exception):
    """A jar could not be fetched, or is not the one that was locked."""


def download(lock: Path, directory: Path) -> None:
    """Copy every locked jar into `directory`; those in the user's Maven repository are not fetched.

    Raises:
        DownloadError: one could not be fetched, or its SHA-256 is not the locked one.
    """
    jars = tomllib.loads(lock.read_text(encoding="utf-8"))["dependencies"]
    configured = GlobalSettings.load()
    context = MavenContext(
        repo_cache=directory / "repository",
        local_repos=[configured.repo_cache],
        remote_repos=repositories(configured.repositories),
        timeout=TIMEOUT_S,
    )
    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(lambda jar: _fetch(context, jar, directory), jars))
    shutil.rmtree(context.repo_cache, ignore_errors=True)


def repositories(configured: Mapping[str, str]) -> dict[str, str]:
    """The repositories to use: those of jgo's own configuration, and the mirror that Maven would use."""
    mirrors = (_mirror(Path(file).expanduser()) for file in MAVEN_SETTINGS)
    central = next(filter(None, mirrors), MAVEN_CENTRAL_URL)
    return {"central": central, **configured}


def _mirror(settings: Path) -> str | None:
    """The mirror of Maven's central repository in a file of Maven's settings."""
    try:
        root = ET.parse(settings).getroot()  # noqa: S314 - the user's own file
    except (OSError, ET.ParseError):
        return None
    for mirror in root.iterfind("{*}mirrors/{*}mirror"):
        of = {word.strip() for word in mirror.findtext("{*}mirrorOf", "").split(",")}
        url = mirror.findtext("{*}url", "").strip().rstrip("/")
        if url and "!central" not in of and of & {"*", "external:*", "central"}:
            return url
    return None


def _fetch(context: MavenContext, jar: Mapping[str, str], directory: Path) -> None:
    component = context.project(jar["groupId"], jar["artifactId"]).at_version(jar["version"])
    artifact = component.artifact(packaging=jar["packaging"])
    try:
        for attempt in Retrying(
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_exponential(),
            # `requests` raises these; a jar that a repository does not have is a RuntimeError.
            retry=retry_if_exception_type(OSError),
            reraise=True,
        ):
            with attempt:
                fetched = _resolve(artifact)
    except (OSError, RuntimeError) as error:
        raise DownloadError(f"{artifact.filename}: {error}") from None
    found = hashlib.sha256(fetched.read_bytes()).hexdigest()
    if found != jar["sha256"]:
        raise DownloadError(f"{fetched} is not what was locked: its SHA-256 is {found}, not {jar['sha256']}")
    shutil.copyfile(fetched, directory / artifact.filename)


def _resolve(artifact: Artifact) -> Path:
    try:
        return artifact.resolve()
    except OSError:
        # A partial jar must not be used at the next attempt.
        if artifact.cached_path is not None:
            artifact.cached_path.unlink(missing_ok=True)
        raise


if __name__ == "__main__":
    try:
        download(Path(sys.argv[1]), Path(sys.argv[2]))
    except DownloadError as error:
        sys.exit(str(error))
