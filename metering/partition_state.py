"""The state of one partition of the log: all that metering its next record depends on.

It is a value: metering returns a new one. `WorkingState` gives that up for speed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from immutables import Map

from metering.accounts import Account
from metering.placement import PartitionIndex
from metering.remembered_ids import RememberedIds
from metering.uncovered import UncoveredCalls


@dataclass(frozen=True, slots=True)
class PartitionState:
    """All that metering the next record of a partition depends on.

    Attributes:
        next_offset: the offset of the next record; all earlier ones are in this state.
        tick_ms: the newest clock tick, which holds for every app.
        accounts: by appid.
        uncovered: remembered uncovered calls, by appid and capability.
        partitions: number of partitions of the log, to reject records in a wrong one; 0 if unknown.
    """

    partition: int
    next_offset: int = 0
    tick_ms: int = 0
    accounts: Mapping[str, Account] = field(default_factory=Map)
    uncovered: Map[tuple[str, str], UncoveredCalls] = field(default_factory=Map)
    ids: RememberedIds = field(default_factory=RememberedIds)
    partitions: int = 0

    @property
    def place(self) -> PartitionIndex:
        """The partition among those of the log."""
        return PartitionIndex(self.partition, self.partitions)

    def accounts_by_number(self) -> Sequence[Account]:
        """The accounts in the order of their numbers."""
        return sorted(self.accounts.values(), key=attrgetter("number"))


@dataclass(frozen=True, slots=True)
class WorkingState(PartitionState):
    """A state that metering consumes: its accounts are changed in place and passed on to the next state.

    With many apps, copying their accounts costs as much as metering their calls. In return there is no way
    back: if the result of a batch cannot be published, the state has to be restored from its checkpoint.

    Attributes:
        accounts: by appid, in the order of their numbers.
    """

    accounts: dict[str, Account] = field(default_factory=dict)

    def accounts_by_number(self) -> Sequence[Account]:
        """The accounts in the order of their numbers."""
        return list(self.accounts.values())

    @staticmethod
    def of(state: PartitionState) -> "WorkingState":
        """The working state made of a state, which must not be used any more."""
        return WorkingState(
            state.partition,
            state.next_offset,
            state.tick_ms,
            {account.appid: account for account in state.accounts_by_number()},
            state.uncovered,
            state.ids,
            state.partitions,
        )
