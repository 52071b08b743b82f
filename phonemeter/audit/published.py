"""What was published, held against the rules while both are read in order. Pure."""

from collections import OrderedDict
from typing import Final, Generic

from phonemeter.audit.differences import Differences, Item
from phonemeter.audit.figures import Identity

WINDOW_ITEMS: Final = 60_000
"""Items of the rules that are kept to hold repeated publications against: more than a worker repeats after a
crash. What goes back further is compared in a pass of its own."""

UNSEEN_MAX: Final = 200_000
"""Items that may wait for being published; those that wait longest are missing beyond it."""

BEFORE_ALL: Final[Identity] = (-1, -1)


class Published(Generic[Item]):
    """Holds the items of a topic against those of the rules.

    A topic may repeat items, from any earlier place on, and then has to repeat them identically. `expect`
    what the rules say up to some place before you `see` what was published up to there, and `trim` then.

    Attributes:
        differences: what was found wrong so far.
        items: how many different ones were seen.
        repeated: how many were seen again.
    """

    def __init__(self, differences: Differences[Item], window_items: int = WINDOW_ITEMS) -> None:
        self.differences: Differences[Item] = differences
        self.items = 0
        self.repeated = 0
        self._window_items = window_items
        self._window: OrderedDict[Identity, Item] = OrderedDict()
        self._unseen: dict[Identity, Item] = {}
        self._newest = BEFORE_ALL
        self._dropped = BEFORE_ALL

    def expect(self, identity: Identity, right: Item) -> None:
        """The rules say this next; or once more, after `go_back`."""
        self._window[identity] = right
        if identity > self._newest:
            self._newest = identity
            self._unseen[identity] = right

    def reaches(self, identity: Identity) -> bool:
        """Whether an item can be held against the rules without going back."""
        return identity > self._dropped

    def see(self, identity: Identity, found: Item) -> None:
        """This was published."""
        right = self._window.get(identity)
        if right is None:
            self.differences.foreign(identity, found)
            return
        again = self._unseen.pop(identity, None) is None
        self.items += not again
        self.repeated += again
        if right != found:
            tell = self.differences.contradicted if again else self.differences.altered
            tell(identity, right, found)

    def trim(self) -> None:
        """Forget what is too old to be repeated; call it when all is seen that was published up to here."""
        while len(self._window) > self._window_items:
            self._dropped, _ = self._window.popitem(last=False)
        while len(self._unseen) > UNSEEN_MAX:
            identity = next(iter(self._unseen))
            self.differences.missing(identity, self._unseen.pop(identity))

    def go_back(self) -> None:
        """Begin again from the first item, to compare what was repeated from too far back."""
        self._window.clear()
        self._dropped = BEFORE_ALL

    def finish(self) -> None:
        """All was read: what was not seen is missing."""
        for identity, right in self._unseen.items():
            self.differences.missing(identity, right)
        self._unseen.clear()
