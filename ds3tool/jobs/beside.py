"""Work on blocks of bytes by a thread, while more come: an MD5 takes longer than to receive and to write them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Blocks that wait for the thread, so that neither side waits for each single one of the other's.
_WAITING_BLOCKS = 2


@contextmanager
def beside(update: Callable[[bytes], None]) -> Iterator[Callable[[bytes], None]]:
    """Give what hands blocks on to `update`, which a thread of its own calls with each, in their order.

    When the `with` block is left, however that is, `update` has had all that were handed on, and the thread is gone;
    what `update` raised is raised then. Where no thread can be had, `update` itself is given. Memory: three blocks,
    besides the one in hand.
    """
    from queue import Queue

    blocks: Queue[bytes | None] = Queue(_WAITING_BLOCKS)
    failures: list[BaseException] = []

    def work() -> None:
        while (block := blocks.get()) is not None:
            if failures:
                continue  # whoever hands them on must not wait for ever
            try:
                update(block)
            except BaseException as error:  # noqa: BLE001  # a thread's failure must not be silent
                failures.append(error)

    thread = threading.Thread(target=work, name="ds3tool-digest", daemon=True)
    with contextlib.suppress(RuntimeError):  # there is a limit on threads
        thread.start()
    if thread.ident is None:
        yield update
        return
    try:
        yield blocks.put
    finally:
        blocks.put(None)
        thread.join()
    if failures:
        raise failures[0]
