"""The apps that are read from WeChat, the third-party platforms behind them, and prices of packs."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from metering.catalogue import DEFAULT
from metering.events import Capability
from producers.wechat.message_crypt import MessageKey
from producers.wechat.secret import Secret


@dataclass(frozen=True, slots=True)
class PushKeys:
    """The keys of one receiver of pushes: the token that signs, and the key of encrypted messages, if any."""

    token: Secret
    message_key: MessageKey | None


@dataclass(frozen=True, slots=True)
class WechatComponent:
    """A third-party platform. Its ticket is pushed to it, or found in a file that its own receiver writes."""

    appid: str
    secret: Secret
    ticket: Secret | None = None
    push: PushKeys | None = None


@dataclass(frozen=True, slots=True)
class WechatApp:
    """An app: it has a secret of its own, or a third-party platform that it has authorized."""

    appid: str
    capabilities: tuple[Capability, ...]
    secret: Secret | None = None
    component: str = ""
    refresh_token: Secret | None = None
    push: PushKeys | None = None


PriceKey = tuple[Capability, int, int]
"""A pack on sale: capability, calls, days."""


def default_prices() -> dict[PriceKey, int]:
    """The prices of the catalogue, in micro-yuan."""
    return {(offer.capability, offer.calls, offer.validity_days): offer.price_micro_yuan for offer in DEFAULT}


@dataclass(frozen=True, slots=True)
class WechatApps:
    """All of the file; `prices` are the catalogue's and, before them, its own."""

    apps: Mapping[str, WechatApp]
    components: Mapping[str, WechatComponent] = field(default_factory=dict)
    prices: Mapping[PriceKey, int] = field(default_factory=default_prices)

    @property
    def has_pushes(self) -> bool:
        """True if anybody receives pushes."""
        return any(one.push for one in self.apps.values()) or any(
            one.push for one in self.components.values()
        )

    def push_keys(self, receiver: str) -> PushKeys | None:
        """The keys of an app or a component; None if it receives no pushes."""
        found = self.apps.get(receiver) or self.components.get(receiver)
        return None if found is None else found.push
