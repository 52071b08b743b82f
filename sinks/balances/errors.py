"""Errors of the memory of balances, one class per reaction."""


class UnsettledLogError(Exception):
    """ClickHouse and `phone-ledger` do not fit together now, in one sentence; the memory is filled again."""
