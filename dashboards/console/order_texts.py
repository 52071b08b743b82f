"""Words of orders: states, steps of the history, what became of money."""

from collections.abc import Mapping
from typing import Final

from dashboards.console.languages import marked
from dashboards.console.orders import OrderState, PaymentOutcome, StepName
from dashboards.console.payments import StoredReturn

STATE_NAMES: Final[Mapping[OrderState, str]] = {
    "created": marked("To be paid"),
    "paying": marked("Being paid"),
    "paid": marked("Paid"),
    "active": marked("In effect"),
    "cancelled": marked("Cancelled"),
    "expired": marked("Not paid in time"),
    "refund_asked": marked("Being refunded"),
    "refunded": marked("Refunded"),
}

STATE_LEVELS: Final[Mapping[OrderState, str]] = {
    "created": "warn",
    "paying": "warn",
    "paid": "good",
    "active": "good",
    "cancelled": "",
    "expired": "",
    "refund_asked": "warn",
    "refunded": "",
}

STEP_NAMES: Final[Mapping[StepName, str]] = {
    "created": marked("Order created"),
    "paying": marked("Terms accepted, payment begun"),
    "paid": marked("Payment received"),
    "active": marked("Pack delivered"),
    "cancelled": marked("Order cancelled"),
    "expired": marked("Ended, not paid in time"),
    "refund_asked": marked("Refund asked for"),
    "refund_refused": marked("Refund refused"),
    "refunded": marked("Refund granted"),
    "wrong_amount": marked("A payment of a wrong amount came"),
    "order_ended": marked("A payment came after the order had ended"),
    "paid_twice": marked("A second payment came"),
    "return_under_way": marked("The payment is on its way back"),
    "return_by_hand": marked("The payment is to be transferred back"),
    "returned": marked("The payment is back"),
}

OUTCOME_NAMES: Final[Mapping[PaymentOutcome, str]] = {
    "accepted": marked("pays the order"),
    "wrong_amount": marked("wrong amount"),
    "order_ended": marked("the order had ended"),
    "paid_twice": marked("paid a second time"),
}

RETURN_NAMES: Final[Mapping[StoredReturn, str]] = {
    "open": marked("will be given back"),
    "under_way": marked("on its way back"),
    "by_hand": marked("to be transferred back"),
    "returned": marked("given back"),
}
