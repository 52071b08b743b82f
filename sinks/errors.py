"""What can go wrong in the sink, told apart by what is to be done about it."""


class SinkError(Exception):
    """The sink cannot work as it was told; one sentence for the operator. Ends the sink."""


class StoreError(Exception):
    """ClickHouse did not do what was asked, or did not say so; to be retried."""


class PoisonError(Exception):
    """A record of `phone-ledger` that cannot be stored as it is. Its partition stops; nothing skips it."""
