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
        # Of those that were taken and not released, the nodes in the order of taking: as a rule one. A blob that goes
        # back may be taken anew before the first who had it is through.
        self._nodes_of: dict[int, list[str | None]] = {}
        self._turn = 0
        self._last_turn: dict[str | None, int] = {}

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    @property
    def taken(self) -> int:
        """How often one was taken and not released."""
        return sum(self._on_their_way.values())

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
                self._nodes_of.setdefault(number, []).append(node)
                self._on_their_way[node] += 1
                self._turn += 1
                self._last_turn[node] = self._turn
                return number
        return None

    def release(self, number: int) -> None:
        """Whoever took a blob is through with it, once for each taking; harmless for one that was not taken."""
        nodes = self._nodes_of.get(number)
        if nodes:
            self._on_their_way[nodes.pop(0)] -= 1
            if not nodes:
                del self._nodes_of[number]
