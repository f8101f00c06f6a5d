"""Prefetching: a background thread prepares the next batches while the training loop computes."""

import threading
import time
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from types import TracebackType
from typing import Generic, TypeVar

Prepared = TypeVar("Prepared")
Ready = TypeVar("Ready")

AHEAD = 2  # number of batches that are prepared in advance


class Prefetch(Generic[Prepared, Ready]):
    """An iterator over the batches of consecutive steps, to be used as a context.

    `prepare` runs in the background thread, so it must not use a GPU, torch's global settings or anything
    that the loop changes; `finish` runs in the loop's thread. A batch depends on its step alone, so a run
    that starts at a later step gets the same batches.

    `torch.utils.data.DataLoader` is not used because it prepares batches in advance only in worker processes, which
    open the image caches again and send every crop through shared memory. With `num_workers=0` the loop would wait
    for every batch. One thread is enough here: the log states the waiting time as `loader_share`. And a batch is a
    function of its step, so that a resumed run needs no state of a sampler.

    Args:
        prepare: function from a step to the part of its batch that is made in advance.
        finish: function from that part to the batch.
        first: the first step.
        end: the step after the last one.

    Example:
        >>> with Prefetch(lambda step: step * step, lambda square: square + 1, 2, 5) as batches:
        ...     list(batches)
        [5, 10, 17]
    """

    def __init__(
        self, prepare: Callable[[int], Prepared], finish: Callable[[Prepared], Ready], first: int, end: int
    ):
        self.waited_seconds = 0.0  # time that the loop has waited for batches and finished them
        self._prepare, self._finish = prepare, finish
        self._steps = range(first, end)
        self._done: SimpleQueue[Prepared | BaseException] = SimpleQueue()
        self._room = threading.Semaphore(AHEAD)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._work, name="prefetch", daemon=True)

    def __enter__(self) -> "Prefetch[Prepared, Ready]":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        self._room.release()
        self._thread.join()

    def _work(self) -> None:
        for step in self._steps:
            self._room.acquire()
            if self._closed.is_set():
                return
            try:
                self._done.put(self._prepare(step))
            except BaseException as error:  # raised in the loop, at its step
                self._done.put(error)
                return

    def __iter__(self) -> Iterator[Ready]:
        for _ in self._steps:
            start = time.monotonic()
            prepared = self._done.get()
            if isinstance(prepared, BaseException):
                raise prepared
            self._room.release()
            ready = self._finish(prepared)
            self.waited_seconds += time.monotonic() - start
            yield ready
