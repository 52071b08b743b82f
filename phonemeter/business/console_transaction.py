"""Transactions of the console's stores, whose errors are those that its pages know."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from dashboards.console.errors import RecordsUnavailableError
from phonemeter.business.database import BusinessDatabase
from phonemeter.errors import OperationError


@contextmanager
def console_transaction(database: BusinessDatabase) -> Iterator[Connection]:
    """A transaction for the block.

    Raises:
        RecordsUnavailableError: the database does not answer.
    """
    try:
        with database.begin() as connection:
            yield connection
    except OperationError as error:
        raise RecordsUnavailableError(str(error)) from None
