"""Build and try a release into `dist/`: wheel, sdist, list of components, checksums: `make release`.

The list of components (SBOM) is CycloneDX, made from the lock file. The wheel is installed into an empty
environment with the locked versions, where the program has to name its version and revision.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from hashlib import sha256
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]


class ReleaseError(Exception):
    """The release is not fit to be given away; the message is one sentence."""


def version_of(root: Path) -> str:
    """The version in `pyproject.toml`."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


def check_changelog(changelog: str, version: str) -> None:
    """Check that the changelog has a dated section of the version.

    Raises:
        ReleaseError: it has none.
    """
    if re.search(rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$", changelog, re.MULTILINE) is None:
        raise ReleaseError(
            f"CHANGELOG.md has no section `## [{version}] - YYYY-MM-DD`: name what is unreleased by the "
            f"version, or build a draft (make release ARGS=--draft)"
        )


def check_components(components: str, version: str) -> None:
    """Check that the list of components is CycloneDX, of this version, and names what has to be installed.

    Raises:
        ReleaseError: it is not.
    """
    listed = json.loads(components)
    root = listed.get("metadata", {}).get("component", {})
    names = {one.get("name") for one in listed.get("components", ())}
    missing = {"aiokafka", "faust-streaming", "clickhouse-driver"} - names
    if listed.get("bomFormat") != "CycloneDX" or root.get("version") != version or missing:
        raise ReleaseError(f"the list of components is not one of phonemeter {version}: {components[:200]!r}")


def check_told(told: str, version: str, revision: str) -> None:
    """Check what the installed program says of itself.

    Raises:
        ReleaseError: another version or revision.
    """
    if told.strip() != f"phonemeter {version} (revision {revision})":
        raise ReleaseError(
            f"the installed wheel says {told.strip()!r}, not version {version}, revision {revision}"
        )


def build(uv: str, out: Path, version: str) -> list[Path]:
    """Build the files of the release."""
    _run(uv, "build", "--quiet", "--out-dir", str(out), str(ROOT))
    components = out / f"phonemeter-{version}.cdx.json"
    exported = _run(uv, "export", "--frozen", "--no-dev", "--quiet", "--format", "cyclonedx1.5")
    check_components(exported, version)
    components.write_text(exported, encoding="utf-8")
    files = [
        *sorted(out.glob(f"phonemeter-{version}*.whl")),
        *out.glob(f"phonemeter-{version}.tar.gz"),
        components,
    ]
    sums = "".join(f"{sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files)
    (out / "SHA256SUMS").write_text(sums, encoding="utf-8")
    return files


def try_out(uv: str, wheel: Path, version: str, revision: str) -> None:
    """Install the wheel into an empty environment with the locked versions, and ask it for its version."""
    with tempfile.TemporaryDirectory(prefix="phonemeter-release-") as folder:
        locked = Path(folder, "locked.txt")
        exported = _run(uv, "export", "--frozen", "--no-dev", "--no-emit-project", "--quiet")
        locked.write_text(exported, encoding="utf-8")
        environment = Path(folder, "environment")
        _run(uv, "venv", "--quiet", "--python", sys.executable, str(environment))
        python = str(environment / "bin" / "python")
        _run(uv, "pip", "install", "--quiet", "--python", python, "--requirements", str(locked))
        _run(uv, "pip", "install", "--quiet", "--python", python, "--no-deps", str(wheel))
        check_told(_run(str(environment / "bin" / "phonemeter"), "--version", cwd=folder), version, revision)


def _run(*command: str, cwd: str | Path = ROOT) -> str:
    ran = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    if ran.returncode:
        raise ReleaseError(f"{' '.join(command[:3])} failed: {(ran.stderr or ran.stdout).strip()[-500:]}")
    return ran.stdout


def main() -> int:
    """Build and try; the exit status."""
    asked = argparse.ArgumentParser(prog="make release")
    asked.add_argument("--uv", default="uv")
    asked.add_argument("--out", type=Path, default=ROOT / "dist")
    asked.add_argument("--draft", action="store_true", help="do without a section in the changelog")
    given = asked.parse_args()
    version = version_of(ROOT)
    try:
        if not given.draft:
            check_changelog((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), version)
        revision = _run("git", "rev-parse", "--short=12", "HEAD").strip()
        given.out.mkdir(parents=True, exist_ok=True)
        files = build(given.uv, given.out, version)
        try_out(given.uv, files[0], version, revision)
    except ReleaseError as error:
        print(f"{error}.", file=sys.stderr)  # noqa: T201 - for whoever releases
        return 1
    for file in (*files, given.out / "SHA256SUMS"):
        print(file)  # noqa: T201 - the result
    return 0


if __name__ == "__main__":
    sys.exit(main())
