"""Users of the services while these are upgraded: a back end, and a member of the console."""

import re
import threading
import time
import urllib.parse
import urllib.request
from datetime import UTC, datetime
from http.cookiejar import CookieJar
from types import TracebackType
from typing import Final, Self

from producers import tap_events
from producers.client import EventProducer
from producers.client_settings import ClientSettings
from producers.errors import DeliveryError

PASSWORD: Final = "correct horse battery"  # noqa: S105 - of the test
EVERY_S: Final = 0.25
DELIVERED_S_MAX: Final = 120.0
QUOTA_EXHAUSTED: Final = 1400001


class BackEnd:
    """A back end that tells the gateway of one refused tap after the other, each of another app.

    Each of them is to be an alert. The client repeats what the gateway does not take.

    Attributes:
        appids: of the events that were published.
        longest_s: the longest time from the publication of an event to its delivery.
        failures: the sentences of what was not delivered.
    """

    def __init__(self, gateway: str, key: str) -> None:
        self.appids: list[str] = []
        self.longest_s = 0.0
        self.failures: list[str] = []
        self._producer = EventProducer(
            ClientSettings(
                client_transport="gateway",
                client_gateway_url=gateway,
                client_gateway_key=key,
                producer_delivery_timeout_s=DELIVERED_S_MAX,
            )
        )
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._publish, name="upgrade-back-end")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """Publish no more, and wait for what is on its way."""
        if self._ended.is_set():
            return
        self._ended.set()
        self._thread.join()
        # It raises what `settle` was told of, and what has no outcome in time.
        try:
            self._producer.close(DELIVERED_S_MAX)
        except DeliveryError as error:
            self.failures.append(str(error))

    def _publish(self) -> None:
        while not self._ended.wait(EVERY_S):
            appid = f"wxa{len(self.appids):015x}"
            began_s = time.monotonic()

            def settle(failure: DeliveryError | None, began_s: float = began_s) -> None:
                if failure is not None:
                    self.failures.append(str(failure))
                self.longest_s = max(self.longest_s, time.monotonic() - began_s)

            event = tap_events.authorization_failed(
                appid=appid, capability="quick", time=datetime.now(UTC), errno=QUOTA_EXHAUSTED
            )
            self._producer.publish(event, settle)
            self.appids.append(appid)


class Member:
    """A member who signs in to the console once, with the link of the invitation."""

    def __init__(self, link: str) -> None:
        address = urllib.parse.urlsplit(link)
        self._base = f"{address.scheme}://{address.netloc}"
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        token = address.query.removeprefix("link=")
        fields = {"link": token, "password": PASSWORD, "repeated": PASSWORD}
        request = urllib.request.Request(  # noqa: S310 - an address of the test's own
            f"{self._base}/password",
            urllib.parse.urlencode(fields).encode(),
            {"origin": self._base, "sec-fetch-site": "same-origin"},
        )
        with self._opener.open(request, timeout=60):
            pass

    def is_signed_in(self) -> bool:
        """Return whether the console shows the member's own page, and no form to sign in."""
        with self._opener.open(f"{self._base}/account", timeout=60) as answer:
            return re.search(r"/account$", answer.geturl()) is not None
