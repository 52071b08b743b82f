"""Publish phone-number authorizations and packs of WeChat mini-programs to phonemeter.

The names here are the interface of the distribution `phonemeter-client`; all others may change.
"""

from metering.events import Capability, PriceBasis
from metering.routing_policy import RoutingMode, StaleAnswer
from producers.async_client import AsyncEventProducer
from producers.client import EventProducer
from producers.client_settings import ClientSettings
from producers.delivery import Delivery, OnSettled, Place
from producers.errors import (
    DeliveryError,
    GatewayRefusedError,
    ProducerError,
    QueueFullError,
    RefusedError,
    UnavailableError,
)
from producers.event_queue import QueueCounts
from producers.events import (
    ERRNO_DENIED,
    ERRNO_QUOTA_EXHAUSTED,
    CloudEvent,
    account_agreement_set,
    account_alerting_set,
    account_charge_notice_requested,
    account_migrated,
    account_opened,
    account_registered,
    account_routing_set,
    authorization_decrypted,
    authorization_denied,
    authorization_failed,
    authorization_succeeded,
    client_hash,
    event_id,
    fact_corrected,
    pack_assigned,
    pack_assignment_cancelled,
    pack_purchased,
    pack_refunded,
    to_json,
    usage_observed,
)
from producers.fake_client import FakeEventProducer
from producers.phone_number_exchange import (
    AsyncPhoneNumberExchange,
    ExchangeCounts,
    ExchangeError,
    PhoneNumber,
    PhoneNumberExchange,
)
from producers.tap_time import tap_time

__all__ = [
    "ERRNO_DENIED",
    "ERRNO_QUOTA_EXHAUSTED",
    "AsyncEventProducer",
    "AsyncPhoneNumberExchange",
    "Capability",
    "ClientSettings",
    "CloudEvent",
    "Delivery",
    "DeliveryError",
    "EventProducer",
    "ExchangeCounts",
    "ExchangeError",
    "FakeEventProducer",
    "GatewayRefusedError",
    "OnSettled",
    "PhoneNumber",
    "PhoneNumberExchange",
    "Place",
    "PriceBasis",
    "ProducerError",
    "QueueCounts",
    "QueueFullError",
    "RefusedError",
    "RoutingMode",
    "StaleAnswer",
    "UnavailableError",
    "account_agreement_set",
    "account_alerting_set",
    "account_charge_notice_requested",
    "account_migrated",
    "account_opened",
    "account_registered",
    "account_routing_set",
    "authorization_decrypted",
    "authorization_denied",
    "authorization_failed",
    "authorization_succeeded",
    "client_hash",
    "event_id",
    "fact_corrected",
    "pack_assigned",
    "pack_assignment_cancelled",
    "pack_purchased",
    "pack_refunded",
    "tap_time",
    "to_json",
    "usage_observed",
]
