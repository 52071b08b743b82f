"""The accounts of the stand-in: apps, third-party platforms, their secrets and tokens."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from producers.wechat_sim.packs import SimulatedQuotas

TOKEN_S: Final = 7_200


@dataclass(slots=True)
class PushTarget:
    """A receiver of pushes: its address and keys; without `aes_key` messages are sent plainly."""

    url: str
    token: str
    aes_key: str = ""


@dataclass(slots=True)
class SimulatedApp:
    """An app with a secret of its own, or authorized to a platform by a refresh token."""

    appid: str
    secret: str = ""
    component: str = ""
    refresh_token: str = ""
    push: PushTarget | None = None
    quotas: SimulatedQuotas = field(default_factory=SimulatedQuotas)


@dataclass(slots=True)
class SimulatedComponent:
    """A third-party platform."""

    appid: str
    secret: str
    ticket: str
    push: PushTarget | None = None


class IssuedTokens:
    """The access tokens that were issued, by what each is for: an app, or a platform."""

    def __init__(self, now_s: Callable[[], float], lifetime_s: int = TOKEN_S) -> None:
        self._now_s = now_s
        self.lifetime_s = lifetime_s
        self._owners: dict[str, str] = {}
        self._until_s: dict[str, float] = {}

    def issue(self, owner: str, *, anew: bool = False) -> tuple[str, int]:
        """A valid token of an owner and its seconds left; the same one while it is valid, unless `anew`."""
        for token, known in self._owners.items():
            left_s = self._until_s[token] - self._now_s()
            if known == owner and left_s > 0 and not anew:
                return token, int(left_s)
        token = f"82_{secrets.token_urlsafe(64)}"
        self._owners[token], self._until_s[token] = owner, self._now_s() + self.lifetime_s
        return token, self.lifetime_s

    def owner_of(self, token: str) -> str | None:
        """The owner of a valid token; empty if it has expired, None if it was never issued."""
        owner = self._owners.get(token)
        return "" if owner is not None and self._until_s[token] <= self._now_s() else owner

    def expire_all(self) -> None:
        """Let every token expire now."""
        self._until_s = dict.fromkeys(self._until_s, 0.0)
