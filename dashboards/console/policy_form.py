"""The form of the member-card settings: the routing policy that it asks for (rule 20)."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import structs

from dashboards.console.languages import marked
from dashboards.console.problems import ConsoleProblem
from dashboards.console.setting_fields import (
    FieldMistakeError,
    NumberField,
    changes_between,
    long_value,
    number,
)
from dashboards.console.visit import Visit
from metering.personal_identifiers import find_identifier
from metering.routing_policy import (
    STORE_BUDGETS_MAX,
    RoutingChoices,
    RoutingMode,
    RoutingPolicy,
    StaleAnswer,
    StoreBudget,
)
from metering.sign_up_ways import ROUTING_MODES

CALLS_MAX: Final = 1_000_000_000
STORE_CHARACTERS_MAX: Final = 64

MODE_TITLES: Final[Mapping[RoutingMode, str]] = {
    "balance": marked("Authorization while calls are left"),
    "wechat": marked("Authorization always"),
    "sms": marked("Short message with a code"),
    "manual": marked("Typed in by the member"),
}
"""By mode, how a member's phone number is obtained."""

STALE_TITLES: Final[Mapping[StaleAnswer, str]] = {
    "estimate": marked("decide by what should be left by now"),
    "wechat": marked("authorization"),
    "sms": marked("short message"),
    "manual": marked("typed in"),
}
NUMBERS: Final[Mapping[str, NumberField]] = {
    "reserve_calls": NumberField(marked("Reserve"), 0, CALLS_MAX),
    "lead_minutes": NumberField(marked("Lead time"), 0, 525_600),
    "refusal_pause_s": NumberField(marked("Pause after a refusal"), 10, 86_400),
}
MESSAGES: Final = NumberField(marked("Short messages left"), 0, CALLS_MAX)

WRONG_CHOICE: Final = marked("Choose how the phone number is obtained.")
WRONG_BUDGET: Final = marked(
    "Budgets of stores: write one a line as STORE=CALLS, such as store-03=300; calls alone are for each "
    "other store. At most %(most)s stores, each once, without phone numbers in their names."
)


def asked_policy(visit: Visit, shown: RoutingPolicy) -> RoutingPolicy:
    """The policy that the form asks for.

    Raises:
        FieldMistakeError: a field can't be used.
    """
    mode = next((one for one in ROUTING_MODES if one == visit.value("mode")), None)
    stale = next((one for one in STALE_TITLES if one == visit.value("when_stale")), None)
    if mode is None or stale is None:
        raise FieldMistakeError(WRONG_CHOICE)
    told_messages = visit.value("sms_left")
    # A count can't be taken back: who has counted them once goes on.
    counted = bool(told_messages) or shown.sms_left is not None
    found: dict[str, Any] = {name: number(visit.value(name), field) for name, field in NUMBERS.items()}
    return structs.replace(
        shown,
        mode=mode,
        when_stale=stale,
        sms_left=number(told_messages, MESSAGES) if counted else None,
        ask_known_members=bool(visit.form.get("ask_known_members")),
        **found,
    ).with_choices(RoutingChoices(store_budgets=_budgets(long_value(visit, "store_budgets"))))


def shown_policy(visit: Visit) -> RoutingPolicy:
    """The policy that the page had when the form was filled in.

    Raises:
        ConsoleProblem: the form does not have it.
    """
    try:
        return RoutingPolicy.from_details(msgspec.json.decode(long_value(visit, "shown")))
    except (msgspec.DecodeError, msgspec.ValidationError):
        raise ConsoleProblem("form_refused") from None


def written(policy: RoutingPolicy) -> str:
    """The policy as a text in the form."""
    return msgspec.json.encode(policy.to_details()).decode()


def written_budgets(policy: RoutingPolicy) -> str:
    """The budgets as the field has them."""
    return "\n".join(
        f"{budget.store}={budget.calls}" if budget.store else str(budget.calls)
        for budget in policy.store_budgets
    )


def policy_changes(before: RoutingPolicy, after: RoutingPolicy) -> dict[str, Any]:
    """The data of the fact that makes one policy of the other."""
    plain = msgspec.to_builtins
    return plain(changes_between(before.to_details(), after.to_details()))  # type: ignore[no-any-return] # a dict


def _budgets(text: str) -> list[StoreBudget]:
    budgets: dict[str, int] = {}
    for line in filter(None, (line.strip() for line in text.splitlines())):
        store, _, calls = line.replace("＝", "=").rpartition("=")
        store, calls = store.strip(), calls.strip()
        is_whole = calls.isascii() and calls.isdecimal() and len(calls) <= len(str(CALLS_MAX))
        if (
            not is_whole
            or int(calls) > CALLS_MAX
            or store in budgets
            or len(store) > STORE_CHARACTERS_MAX
            or find_identifier(store) is not None
        ):
            raise FieldMistakeError(WRONG_BUDGET, most=STORE_BUDGETS_MAX)
        budgets[store] = int(calls)
    if len(budgets) > STORE_BUDGETS_MAX:
        raise FieldMistakeError(WRONG_BUDGET, most=STORE_BUDGETS_MAX)
    return [StoreBudget(calls, store) for store, calls in sorted(budgets.items())]
