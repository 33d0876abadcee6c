"""Threads that wait for work which lets go of Python's lock: a compiled program's tiles, and those of a fused batch norm."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from functools import cache
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

_Result = TypeVar("_Result")
THREADS = min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, 8)


def shared(work: Callable[[], _Result], parts: int) -> _Result:
    """``work()``, run here and by as many helpers as ``THREADS`` and the parts allow: each takes parts until none is left.

    It returns when all is done, whoever did it, and finds nothing to do where it begins only then: nobody waits for a helper.
    """
    for _ in range(min(THREADS, parts) - 1):
        _helpers(THREADS).put(work)
    return work()


def tiled(function: Callable[..., None], tiles: int, n: int, *arrays: Any) -> None:
    """Run the function on each tile of n. Which thread takes a tile makes no difference to the numbers."""
    left, done = deque(range(tiles)), SimpleQueue[BaseException | None]()

    def work() -> None:
        while left:
            error: BaseException | None = None
            try:
                i = left.popleft()
            except IndexError:  # another one was faster
                return
            try:
                function(i, n * i // tiles, n * (i + 1) // tiles, *arrays)
            except BaseException as raised:  # which the caller is to know
                error = raised
            done.put(error)

    shared(work, tiles)
    for _ in range(tiles):
        if error := done.get():
            raise error


@cache
def _helpers(threads: int) -> SimpleQueue[Callable[[], Any]]:
    def help() -> None:
        while True:
            queue.get()()

    queue: SimpleQueue[Callable[[], Any]] = SimpleQueue()
    for _ in range(threads - 1):
        Thread(target=help, name="micrograd_bn", daemon=True).start()
    return queue


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_helpers.cache_clear)  # a forked process has none of the threads
