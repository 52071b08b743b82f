"""The exchange of a tap's code for the phone number at WeChat, with the tap metered before it.

The success callback is the charge point (rule 1), so the call is metered from the client's code before WeChat
is asked. What the exchange answers changes nothing about it: a code that can't be exchanged was charged all
the same, and WeChat gives no call back. So a failed exchange publishes no event, which would stand for a call
that is not counted yet; it is raised, logged and counted.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple, TypedDict, Unpack

from metering.events import Capability
from producers.async_client import AsyncEventProducer
from producers.client import EventProducer
from producers.delivery import Delivery
from producers.errors import ProducerError, UnavailableError
from producers.tap_events import authorization_succeeded
from producers.tap_time import tap_time

log = logging.getLogger(__name__)

AskWechat = Callable[[str], Mapping[str, Any]]
"""Asks `getuserphonenumber` about a code, with an access token of yours; returns WeChat's JSON, or raises."""

AskWechatAsync = Callable[[str], Awaitable[Mapping[str, Any]]]
"""The same for asyncio."""


class TapFields(TypedDict, total=False):
    """Fields of a tap besides app, code and component; as in `authorization_succeeded`."""

    scene: str
    store: str
    env: str
    client: str
    source: str


class ExchangeError(ProducerError):
    """WeChat did not give the number for a code. The call was metered all the same, as it was charged.

    Attributes:
        errcode: WeChat's number of the error; None if there was no answer of WeChat's.
    """

    def __init__(self, sentence: str, errcode: int | None) -> None:
        super().__init__(sentence)
        self.errcode = errcode


class PhoneNumber(NamedTuple):
    """A phone number; it does not show in `repr`, so that no log has it by accident.

    Attributes:
        pure_number: without the country's code.
        country_code: such as `86`.
        delivery: the outcome of the event; None if the queue was full.
    """

    pure_number: str
    country_code: str
    delivery: Delivery | None

    def __repr__(self) -> str:
        """The type, and nothing of the number."""
        return "PhoneNumber(***)"

    def __str__(self) -> str:
        """The same."""
        return repr(self)


class ExchangeCounts(NamedTuple):
    """The exchanges of a process up to now.

    Attributes:
        succeeded: those that gave a number.
        failed: those that did not.
        not_metered: taps whose event the queue had no room for.
    """

    succeeded: int = 0
    failed: int = 0
    not_metered: int = 0


class _Exchange:
    """The work before and after WeChat is asked."""

    def __init__(self, producer: EventProducer | AsyncEventProducer) -> None:
        self._producer = producer
        self.counts = ExchangeCounts()

    def _meter(
        self,
        appid: str,
        code: str,
        capability: Capability,
        phone_time: str | datetime | None,
        fields: TapFields,
    ) -> Delivery | None:
        event = authorization_succeeded(
            appid=appid, code=code, capability=capability, time=tap_time(phone_time), **fields
        )
        try:
            return self._producer.publish(event)
        except UnavailableError as error:
            # A member who signs up is worth more than a line of the ledger.
            self.counts = self.counts._replace(not_metered=self.counts.not_metered + 1)
            log.warning("A tap of %s is not metered: %s", appid, error)
            return None

    def _number(self, appid: str, answer: Mapping[str, Any], delivery: Delivery | None) -> PhoneNumber:
        errcode = answer.get("errcode", 0)
        info = answer.get("phone_info")
        if errcode or not isinstance(info, Mapping):
            raise self._failed(appid, errcode if isinstance(errcode, int) else None)
        watermark = info.get("watermark")
        if isinstance(watermark, Mapping) and watermark.get("appid") not in {None, appid}:
            log.error("WeChat answered %s with the number of a user of another app.", appid)
            raise self._failed(appid, None)
        self.counts = self.counts._replace(succeeded=self.counts.succeeded + 1)
        return PhoneNumber(str(info.get("purePhoneNumber", "")), str(info.get("countryCode", "")), delivery)

    def _failed(self, appid: str, errcode: int | None, error: BaseException | None = None) -> ExchangeError:
        self.counts = self.counts._replace(failed=self.counts.failed + 1)
        # The text of an error may have the token or the number in it.
        reason = type(error).__name__ if error is not None else f"errcode {errcode or 'missing'}"
        log.warning("A code of %s was not exchanged (%s); its call was charged all the same.", appid, reason)
        return ExchangeError(
            f"WeChat gave no number for the code ({reason}); let the user tap again or use another way.",
            errcode,
        )


class PhoneNumberExchange(_Exchange):
    """The exchange of codes for numbers, each tap metered once however often its code is tried.

    Args:
        producer: publishes the taps.
        ask: asks WeChat.
    """

    def __init__(self, producer: EventProducer, ask: AskWechat) -> None:
        super().__init__(producer)
        self._ask = ask

    def exchange(
        self,
        *,
        appid: str,
        code: str,
        capability: Capability,
        phone_time: str | datetime | None = None,
        **fields: Unpack[TapFields],
    ) -> PhoneNumber:
        """Meter a tap, and ask WeChat for its number.

        Args:
            appid: the mini-program.
            code: the `code` that the component's success callback gave.
            capability: the component that was tapped.
            phone_time: when, by the phone's clock; `tap_time` bounds it.
            **fields: as in `authorization_succeeded`.

        Raises:
            RefusedError: the code is missing, or a field is wrong; WeChat is not asked.
            ExchangeError: WeChat gave no number.
        """
        delivery = self._meter(appid, code, capability, phone_time, fields)
        try:
            answer = self._ask(code)
        except Exception as error:  # noqa: BLE001 - whatever the function of the user raises
            raise self._failed(appid, None, error) from None
        return self._number(appid, answer, delivery)


class AsyncPhoneNumberExchange(_Exchange):
    """The same for asyncio; an exchange that is cancelled leaves the tap metered.

    Args:
        producer: publishes the taps.
        ask: asks WeChat.
    """

    def __init__(self, producer: AsyncEventProducer, ask: AskWechatAsync) -> None:
        super().__init__(producer)
        self._ask = ask

    async def exchange(
        self,
        *,
        appid: str,
        code: str,
        capability: Capability,
        phone_time: str | datetime | None = None,
        **fields: Unpack[TapFields],
    ) -> PhoneNumber:
        """Meter a tap, and ask WeChat for its number; as `PhoneNumberExchange.exchange`."""
        delivery = self._meter(appid, code, capability, phone_time, fields)
        try:
            answer = await self._ask(code)
        except Exception as error:  # noqa: BLE001 - whatever the function of the user raises
            raise self._failed(appid, None, error) from None
        return self._number(appid, answer, delivery)
