"""The checks of a release: the changelog, the list of components, what the installed program says."""

import json

import pytest

from tools.release import (
    ROOT,
    ReleaseError,
    check_changelog,
    check_components,
    check_told,
    version_of,
)

COMPONENTS = [{"name": name} for name in ("aiokafka", "faust-streaming", "clickhouse-driver")]


def listed(**fields: object) -> str:
    return json.dumps(
        {
            "bomFormat": "CycloneDX",
            "metadata": {"component": {"version": "1.2.0"}},
            "components": COMPONENTS,
            **fields,
        }
    )


def test_a_version_needs_a_dated_section_in_the_changelog() -> None:
    check_changelog("# Changelog\n\n## [Unreleased]\n\n## [1.2.0] - 2026-12-01\n\n- x\n", "1.2.0")
    for changelog in ("## [1.2.0]\n", "## [1.2.0-rc] - 2026-12-01\n", "## [102.0] - 2026-12-01\n", ""):
        with pytest.raises(ReleaseError, match=r"CHANGELOG\.md has no section `## \[1\.2\.0\] - YYYY-MM-DD`"):
            check_changelog(changelog, "1.2.0")


@pytest.mark.parametrize(
    "fields",
    [
        {"bomFormat": "SPDX"},
        {"metadata": {"component": {"version": "1.1.0"}}},
        {"components": COMPONENTS[1:]},
    ],
)
def test_a_list_of_components_of_something_else_is_refused(fields: dict[str, object]) -> None:
    check_components(listed(), "1.2.0")
    with pytest.raises(ReleaseError, match=r"is not one of phonemeter 1\.2\.0"):
        check_components(listed(**fields), "1.2.0")


def test_a_wheel_that_was_built_from_another_commit_is_refused() -> None:
    check_told("phonemeter 1.2.0 (revision abc)\n", "1.2.0", "abc")
    for told in ("phonemeter 1.2.0 (revision checkout)\n", "phonemeter 1.1.0 (revision abc)\n", ""):
        with pytest.raises(ReleaseError, match=r"not version 1\.2\.0, revision abc"):
            check_told(told, "1.2.0", "abc")


def test_the_version_is_that_of_the_project() -> None:
    assert version_of(ROOT).count(".") == 2
