"""The pages obey Grafana's schema: they are read back through the models that Grafana generates from it.

What the models do not know is lost on the way, and missing in the second writing. What has another type than
the models declare is found by walking through them.
"""

import json
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.cog.runtime import register_dataquery_variant
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import dashboard as models

from dashboards.grafana.clickhouse import variant
from dashboards.grafana.pages import in_the_open
from tools.pictures.pages import PAGES, committed


@pytest.fixture(scope="module", autouse=True)
def known_to_the_sdk() -> None:
    register_default_plugins()
    register_dataquery_variant(variant())


def faults(value: object, declared: Any, where: str) -> list[str]:  # noqa: ANN401 - any annotation
    """The places of values that are not of the type that the models declare."""
    origin, inner = get_origin(declared), get_args(declared)
    if origin in (Union, UnionType):
        found = [faults(value, one, where) for one in inner]
        return min(found, key=len)
    if origin is list and isinstance(value, list):
        return [fault for n, one in enumerate(value) for fault in faults(one, inner[0], f"{where}[{n}]")]
    if origin is dict and isinstance(value, dict):
        return [fault for key, one in value.items() for fault in faults(one, inner[1], f"{where}.{key}")]
    if not fits(value, declared):
        return [f"{where}: {value!r} is no {declared}"]
    return inner_faults(value, where) if hasattr(value, "to_json") else []


def fits(value: object, declared: Any) -> bool:  # noqa: ANN401 - any annotation
    """Return True for a value of a type without parts."""
    if get_origin(declared) is Literal:
        return value in get_args(declared)
    if declared in (Any, object) or (declared is float and type(value) is int):
        return True
    if isinstance(declared, type) and issubclass(declared, Enum):
        return value in set(declared)
    if isinstance(value, bool) and declared is not bool:
        return False
    return isinstance(value, get_origin(declared) or declared)


def inner_faults(model: object, where: str) -> list[str]:
    """The same for every attribute of a model."""
    if isinstance(model, Dataquery) and not get_type_hints(type(model)):
        return []
    hints = get_type_hints(type(model))
    return [
        fault
        for name, declared in hints.items()
        for fault in faults(getattr(model, name), declared, f"{where}.{name}")
    ]


def read(language: str, page: str) -> models.Dashboard:
    return models.Dashboard.from_json(committed(language, page))


@pytest.mark.parametrize(("language", "page"), PAGES)
def test_nothing_of_a_page_is_unknown_to_grafanas_models(language: str, page: str) -> None:
    again = in_the_open(json.loads(JSONEncoder().encode(read(language, page))))
    assert again == committed(language, page)


@pytest.mark.parametrize(("language", "page"), PAGES)
def test_everything_on_a_page_has_the_type_that_grafana_declares(language: str, page: str) -> None:
    board = read(language, page)
    assert inner_faults(board, page) == []
    for panel in board.panels or []:
        assert isinstance(panel, models.Panel | models.RowPanel)
        if isinstance(panel, models.Panel):
            assert not isinstance(panel.options, dict | NoneType), panel.title
            assert inner_faults(panel.options, f"{panel.title}.options") == []
            assert panel.field_config is not None
            custom = panel.field_config.defaults.custom if panel.field_config.defaults else None
            assert custom is None or inner_faults(custom, f"{panel.title}.custom") == []


def test_a_misspelt_option_and_a_wrong_type_are_found() -> None:
    board = committed("en", "app")
    board["panels"][0]["options"]["colorMood"] = "value"
    assert json.loads(JSONEncoder().encode(models.Dashboard.from_json(board))) != board
    board = committed("en", "app")
    board["panels"][0]["options"]["colorMode"] = "loud"
    board["panels"][0]["gridPos"]["w"] = "six"
    read_back = models.Dashboard.from_json(board)
    panel = (read_back.panels or [])[0]
    assert isinstance(panel, models.Panel)
    assert inner_faults(panel.options, "options")
    assert inner_faults(read_back, "app")
