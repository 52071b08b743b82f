"""Every question that several places answer has one answer, wherever it is asked.

Places are the rules, the views, the cookbook, Grafana's pages, commands and metrics. One that is added to a
question is added in `questions_of_balance.py` or `questions_of_use.py`. The ledger is half a year of traffic.
"""

from collections.abc import Callable

import pytest

from tests.dashboards import questions_of_balance, questions_of_use
from tests.dashboards.asking import Answer, Asking, Place
from tests.dashboards.conftest import Ledger

QUESTIONS: dict[str, Callable[[], dict[str, Place]]] = {
    "how many calls are left": questions_of_balance.calls_left,
    "when do they run out": questions_of_balance.run_out,
    "how many are used a day": questions_of_balance.pace,
    "how many will lapse with which pack": questions_of_balance.lapsing,
    "what are these worth": questions_of_balance.lapsing_money,
    "what does each pack hold": questions_of_balance.held,
    "which packs expire next": questions_of_balance.expiring,
    "which apps have none left": questions_of_balance.out_of_calls,
    "how many apps are there": questions_of_balance.apps,
    "what was used": questions_of_use.used,
    "who used how much": questions_of_use.calls_of_places,
    "how does a month close": questions_of_use.month_close,
    "what did a month cost": questions_of_use.money_of_months,
    "what was uncovered": questions_of_use.uncovered,
    "what came twice": questions_of_use.duplicates,
    "how far off is the platform": questions_of_use.differences_to_the_platform,
    "what day is it": questions_of_balance.today,
}


@pytest.fixture(scope="module")
def asking(simulated: Ledger) -> Asking:
    return Asking(simulated)


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_has_one_answer_wherever_it_is_asked(asking: Asking, question: str) -> None:
    answers = {place: dict(ask(asking)) for place, ask in QUESTIONS[question]().items()}
    assert len(answers) > 1
    first, expected = next(iter(answers.items()))
    assert expected, first
    different = {
        place: _difference(expected, answer) for place, answer in answers.items() if answer != expected
    }
    assert different == {}, f"{first} says otherwise"


def _difference(expected: Answer, answer: Answer) -> Answer:
    return {
        key: (expected.get(key), answer.get(key))
        for key in expected.keys() | answer.keys()
        if expected.get(key) != answer.get(key)
    }
