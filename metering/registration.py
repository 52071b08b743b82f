"""The registration of an app: its owner, who decides whether it is exempt (rules 8 and 9)."""

from metering.accounts import Account
from metering.events import OwnerTerms, Registered, RegistrationData
from metering.exemption import is_exempt
from metering.journal import Journal, details_json
from metering.lateness import mark, newest_call_ms
from metering.rules import Rules


def register(account: Account, event: Registered, time_ms: int, journal: Journal, rules: Rules) -> None:
    """Record an owner. One that is older than the current owner changes nothing that comes now."""
    data = event.data
    exempt = is_exempt(data.entity_type, data.category)
    journal.add(
        "registration",
        time_ms,
        account.appid,
        event_id=event.id,
        reason="exempt" if exempt else "charged",
        source=event.source,
        details=owner_details(data),
    )
    older = (time_ms, event.id) < (account.registered_ms, account.registered_id)
    if older or exempt != account.exempt:
        if time_ms <= newest_call_ms(account):
            mark(account, time_ms, "late_registration", event.id, event.source, journal, rules)
        for capability_account in account.capabilities.values():
            capability_account.turn(max(time_ms, account.registered_ms))
    if not older:
        set_owner(account, data, time_ms, event.id)


def set_owner(account: Account, owner: RegistrationData | OwnerTerms, time_ms: int, event_id: str) -> None:
    """Set the owner that holds now, by the registration of a time and event id."""
    account.name, account.entity_type, account.category = owner.name, owner.entity_type, owner.category
    account.exempt = is_exempt(owner.entity_type, owner.category)
    account.registered_ms, account.registered_id = time_ms, event_id


def owner_details(owner: RegistrationData | OwnerTerms, **more: str) -> str:
    """The details of an entry of a registration."""
    return details_json(name=owner.name, entity_type=owner.entity_type, category=owner.category, **more)
