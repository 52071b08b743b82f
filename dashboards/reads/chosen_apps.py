"""The choice of apps that a question is about: some, or all."""

from collections.abc import Sequence


def chosen_apps(apps: Sequence[str] | None) -> tuple[str, dict[str, object]]:
    """The condition for all apps or for some, which views read less for, and its parameters."""
    return ("true", {}) if apps is None else ("appid IN %(appids)s", {"appids": tuple(apps) or ("",)})
