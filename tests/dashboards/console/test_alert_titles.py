"""Titles of the page of alerts: for each word that the ledger and the notifier have."""

from typing import get_args

from dashboards.console.pages.alerts import (
    CHANNEL_TITLES,
    DELIVERY_TITLES,
    REASON_TITLES,
    SEVERITY_LEVELS,
    SEVERITY_TITLES,
)
from metering.alert_severity import Severity
from metering.ledger import AlertReason
from sinks.notifier.records import State as DeliveryState
from sinks.notifier.routes import ChannelName


def test_every_reason_severity_state_and_channel_has_a_title() -> None:
    assert set(REASON_TITLES) == set(get_args(AlertReason))
    assert set(SEVERITY_TITLES) == set(SEVERITY_LEVELS) == set(get_args(Severity))
    assert set(DELIVERY_TITLES) == {*get_args(DeliveryState), "held", "acknowledged"}
    assert set(CHANNEL_TITLES) == set(get_args(ChannelName))
