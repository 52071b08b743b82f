"""Errors of WeChat's side; each message is one sentence without a secret."""

from typing import Literal

from producers.errors import ProducerError

Trouble = Literal["token", "limited", "busy", "refused", "unreachable"]
"""Kind of a failed request, which decides what is done next.

`token`: another access token is needed. `limited`: too many requests. `busy`: WeChat asks to try again.
`refused`: only a change of the configuration helps. `unreachable`: no answer, or none of WeChat's.
"""


class WechatFileError(ProducerError):
    """The file of apps, or a secret that it refers to, can't be used."""


class WechatPortError(ProducerError):
    """A port of the service can't be opened."""


class WechatError(ProducerError):
    """WeChat did not do what was asked."""

    def __init__(self, trouble: Trouble, sentence: str) -> None:
        super().__init__(sentence)
        self.trouble: Trouble = trouble


class LedgerUnavailableError(ProducerError):
    """The packs that the ledger has can't be read now."""
