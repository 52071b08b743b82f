"""Published items compared with the rules, both read in order. Pure."""

from collections import OrderedDict
from typing import Final, Generic

from phonemeter.audit.differences import Differences, Item
from phonemeter.audit.figures import EntryId

WINDOW_ITEMS: Final = 60_000
"""Expected items that are kept to compare repeated ones with: more than a worker repeats after a crash. What
repeats older ones is compared in another pass."""

UNSEEN_MAX: Final = 200_000
"""Expected items that may wait to be published; beyond it the oldest count as missing."""

BEFORE_ALL: Final[EntryId] = (-1, -1)


class PublishedItems(Generic[Item]):
    """Compares the items of a topic with those that the rules expect.

    A topic may repeat items from any earlier position on, and then has to repeat them identically. Call
    `expect` for all items up to some position, then `observe` for those published up to there, then `trim`.
    """

    def __init__(self, differences: Differences[Item], window_items: int = WINDOW_ITEMS) -> None:
        self.differences: Differences[Item] = differences
        self.items = 0
        self.repeated = 0
        self._window_items = window_items
        self._window: OrderedDict[EntryId, Item] = OrderedDict()
        self._unseen: dict[EntryId, Item] = {}
        self._newest = BEFORE_ALL
        self._dropped = BEFORE_ALL

    def expect(self, identity: EntryId, right: Item) -> None:
        """Add the next item of the rules; after `rewind`, from the first one again."""
        self._window[identity] = right
        if identity > self._newest:
            self._newest = identity
            self._unseen[identity] = right

    def is_comparable(self, identity: EntryId) -> bool:
        """Return whether an item can be compared without `rewind`."""
        return identity > self._dropped

    def observe(self, identity: EntryId, found: Item) -> None:
        """Compare a published item."""
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
        """Drop items that are too old to be repeated, after everything published so far was observed."""
        while len(self._window) > self._window_items:
            self._dropped, _ = self._window.popitem(last=False)
        while len(self._unseen) > UNSEEN_MAX:
            identity = next(iter(self._unseen))
            self.differences.missing(identity, self._unseen.pop(identity))

    def rewind(self) -> None:
        """Start again at the first item, to compare repetitions of old items."""
        self._window.clear()
        self._dropped = BEFORE_ALL

    def finish(self) -> None:
        """Count every item that was not observed as missing."""
        for identity, right in self._unseen.items():
            self.differences.missing(identity, right)
        self._unseen.clear()
