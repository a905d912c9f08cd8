"""The large blobs that are ready, shared out fairly among the nodes that serve them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable


class ReadyBlobs:
    """Blobs in the order in which they came, taken by node.

    The next one is of the node that the fewest are on their way to; of several such, of the one that has waited
    longest. So a slow node holds no more than its share of the workers as long as others have work, and may have all of
    them when no other has. `node` None stands for all of which nobody says where they are. Not for two threads at once.
    """

    def __init__(self) -> None:
        self._queues: dict[str | None, deque[int]] = {}
        self._on_their_way: dict[str | None, int] = {}
        # Of those that were taken and not released.
        self._node_of: dict[int, str | None] = {}
        self._turn = 0
        self._last_turn: dict[str | None, int] = {}

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    @property
    def taken(self) -> int:
        """How many were taken and not released."""
        return len(self._node_of)

    def append(self, number: int, node: str | None) -> None:
        """Add a blob, whose turn is after all others of its node."""
        queue = self._queues.get(node)
        if queue is None:
            queue = self._queues[node] = deque()
            self._on_their_way.setdefault(node, 0)
        queue.append(number)

    def take(self, is_ready: Callable[[int], bool]) -> int | None:
        """Return the next blob, None when there is none; those that are not ready any more are dropped."""
        while self._queues:
            node = min(self._queues, key=lambda one: (self._on_their_way[one], self._last_turn.get(one, 0)))
            queue = self._queues[node]
            number = queue.popleft()
            if not queue:
                del self._queues[node]
            if is_ready(number):
                self._node_of[number] = node
                self._on_their_way[node] += 1
                self._turn += 1
                self._last_turn[node] = self._turn
                return number
        return None

    def release(self, number: int) -> None:
        """Whoever took a blob is through with it; harmless for one that was not taken."""
        if number in self._node_of:
            self._on_their_way[self._node_of.pop(number)] -= 1
