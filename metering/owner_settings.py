"""Settings of an app by its owner: alert thresholds, the policy on the platform's count, the routing policy.

Of two settings the one that arrives later holds. No settlement and no correction is about them.
"""

from metering.accounts import Account
from metering.alert_rules import set_thresholds
from metering.events import AgreementSet, AlertingSet, RoutingSet
from metering.following import set_policy
from metering.journal import Journal, details_json
from metering.milestones import schedule
from metering.routing_policy import DEFAULT_POLICY
from metering.rules import Rules

OwnerSetting = AlertingSet | AgreementSet | RoutingSet


def apply_setting(
    account: Account, event: OwnerSetting, time_ms: int, journal: Journal, rules: Rules
) -> None:
    """Apply a setting of the owner."""
    if isinstance(event, AlertingSet):
        set_thresholds(account, event, time_ms, journal, rules)
        schedule(account, rules)
    elif isinstance(event, AgreementSet):
        set_policy(account, event, time_ms, journal)
    else:
        _set_routing(account, event, time_ms, journal)


def _set_routing(account: Account, event: RoutingSet, time_ms: int, journal: Journal) -> None:
    """Change the policy of a capability by an owner's choices; the entry has the whole of it (rule 20)."""
    capability = event.data.capability
    capability_account = account.capabilities[capability]
    policy = (capability_account.routing or DEFAULT_POLICY).with_choices(event.data)
    capability_account.routing = policy
    journal.add(
        "routing_set",
        time_ms,
        account.appid,
        capability,
        event_id=event.id,
        source=event.source,
        details=details_json(**policy.to_details()),
    )
