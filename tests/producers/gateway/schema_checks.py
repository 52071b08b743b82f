"""A check for Schemathesis: what the OpenAPI document allows is refused only for what no schema can say."""

import json
from typing import Any

import schemathesis
from schemathesis import Case, CheckContext, Response

MEANING = {"time_out_of_range", "phone_number"}
"""Reasons that depend on today's date, and on what the digits in a text are."""

WRITTEN_AS_FLOAT = "got `float`"
"""For JSON Schema 34.0 is an integer; here no float passes for one."""

COMPARED = ("data.to: expected the appid of another app", "data.used_before: ")
"""Beginnings of what is said of two fields that do not fit each other."""

OF_THE_ANSWER_BEFORE = "cursor: it does not belong to this list"

REPEATED = "urn:phonemeter:problem:repeat_differs"


@schemathesis.check
def right_data_is_refused_for_its_meaning_alone(
    _context: CheckContext, response: Response, case: Case[Any]
) -> bool | None:
    """Fail if data that fits the schema was refused for its form."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return True
    if response.status_code == 400:
        detail = json.loads(response.content)["detail"]
        is_beyond = detail.startswith(OF_THE_ANSWER_BEFORE) or WRITTEN_AS_FLOAT in detail
        assert is_beyond, f"It fits the schema, and was refused: {detail}"
    assert response.status_code not in {413, 415}, "It fits the schema, and could not be read."
    if response.status_code == 422:
        problem = json.loads(response.content)
        refused = [one for one in problem.get("results", ()) if one["outcome"] == "refused"]
        assert problem["type"] == REPEATED or refused, problem
        sent = case.body if isinstance(case.body, list) else [case.body]
        wrong = [one for one in refused if not _is_meaning(one, sent[int(one["index"])])]
        assert not wrong, f"It fits the schema, and was refused: {wrong}"
    return None


def _is_meaning(refused: dict[str, Any], event: object) -> bool:
    # What a text in base64 must be, a schema only describes.
    is_encoded = isinstance(event, dict) and event.get("data_base64") is not None
    said = refused["detail"]
    is_beyond = said.startswith(COMPARED) or WRITTEN_AS_FLOAT in said
    return is_encoded or is_beyond or refused["reason"] in MEANING
