"""A search with Schemathesis through the requests of one operation of the OpenAPI document."""

from pathlib import Path
from typing import Any, Final

from hypothesis import HealthCheck, given, settings
from schemathesis import APIOperation, BaseSchema, Case, Config, GenerationMode, openapi

from tests.producers.gateway.schema_checks import right_data_is_refused_for_its_meaning_alone

CONFIG: Final = Path(__file__).with_name("schemathesis.toml")
MODES: Final = tuple(GenerationMode)


def described_by(url: str) -> BaseSchema:
    """The document that is served at an address."""
    return openapi.from_url(f"{url}/v1/openapi.json", config=Config.from_path(CONFIG))


def search(
    operation: APIOperation[Any, Any, Any, Any],
    key: str,
    mode: GenerationMode,
    examples: int,
    appid: str = "",
) -> None:
    """Make so many requests, the same each time, right or wrong ones.

    Right ones are about the app, if one is given: nobody would guess it.

    Raises:
        FailureGroup: an answer is not one that the document describes.
    """

    @settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: Case[Any]) -> None:
        if appid and mode.is_positive:
            case.path_parameters["appid"] = appid
        case.call_and_validate(
            headers={"Authorization": f"Bearer {key}"},
            additional_checks=[right_data_is_refused_for_its_meaning_alone],
        )

    check()
