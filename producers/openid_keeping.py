"""The keeping of openids beside published events, if the settings ask for it."""

import importlib
import logging
import threading
from typing import TYPE_CHECKING

from metering.events import AnyEvent, Succeeded
from metering.times import to_ms
from producers.errors import ProducerError
from producers.settings import ProducerSettings

if TYPE_CHECKING:
    from producers.openid_store import OpenidStore

log = logging.getLogger(__name__)


class OpenidKeeper:
    """The keeper of the openids that come with events: in the file of the settings, or nowhere.

    A call is worth more than a line of a dispute: an openid that can't be kept is counted in `not_kept` and
    logged once, without it, and the event is published all the same.
    """

    def __init__(self, settings: ProducerSettings) -> None:
        self._settings = settings
        self._opening = threading.Lock()
        self._store: OpenidStore | None = None
        self._last_problem = ""
        self.not_kept = 0

    def keep(self, event: AnyEvent, openid: str) -> None:
        """Keep the openid of a succeeded authorization; of other events none is needed."""
        if not openid or self._settings.openid_store is None or not isinstance(event, Succeeded):
            return
        try:
            self._opened().add(event.subject, event.id, to_ms(event.time), openid)
        except ProducerError as error:
            self.not_kept += 1
            if str(error) != self._last_problem:
                self._last_problem = str(error)
                log.warning("An openid was not kept for disputes: %s", error)

    def close(self) -> None:
        """Close the file, if it was opened."""
        with self._opening:
            store, self._store = self._store, None
        if store is not None:
            store.close()

    def _opened(self) -> "OpenidStore":
        with self._opening:
            if self._store is None:
                self._store = open_store(self._settings)
            return self._store


def open_store(settings: ProducerSettings) -> "OpenidStore":
    """Open the file that the settings name.

    Raises:
        ProducerError: none is named, the key is missing or wrong, or the library is.
    """
    if settings.openid_store is None or not settings.openid_keys:
        raise ProducerError(
            "Openids are kept in a file and with a key: set PHONEMETER_OPENID_STORE and "
            "PHONEMETER_OPENID_KEYS (docs/how-to/agreement.md)."
        )
    try:
        # Its library is not needed by clients that keep no openids.
        module = importlib.import_module(f"{__package__}.openid_store")
    except ImportError:
        raise ProducerError("Openids are encrypted with cryptography: pip install cryptography.") from None
    store: OpenidStore = module.OpenidStore(
        settings.openid_store, settings.openid_keys, bytes_max=settings.openid_store_bytes_max
    )
    return store
