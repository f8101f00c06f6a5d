"""Mapping a function over many image files with a few threads."""

import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import TypeVar

from PIL import Image

from ntire_sr.core.machine import processors
from ntire_sr.core.progress import SILENT, Progress

THREADS = 4  # at most; decoding releases Python's global interpreter lock

Item = TypeVar("Item")
Value = TypeVar("Value")


def set_image_warnings() -> None:
    """Make Pillow's warning of too many pixels an error, and ignore those of damaged metadata."""
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


def map_ahead(
    work: Callable[[Item], Value], items: Iterable[Item], threads: int, ahead: int
) -> Generator[Value, None, None]:
    """Apply `work` to each item in order, at most `ahead` items in advance.

    An error of `work` is raised when its item is reached. Close the iterator if it is not read to its end.
    """
    with warnings.catch_warnings():
        # Warning filters belong to the whole process, and threads set and restore those of `read_image` in any
        # order. So they are set here for the whole time, and restored once at the end.
        set_image_warnings()
        waiting: deque[Future[Value]] = deque()
        pool = ThreadPoolExecutor(threads, "images")
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def map_in_threads(
    work: Callable[[Item], Value], items: Sequence[Item], name: str, progress: Progress = SILENT
) -> Generator[Value, None, None]:
    """Yield `work(item)` in order, computed a few items ahead in threads, with a progress bar of this name.

    An error of `work` is raised when its item is reached. Close the iterator if it is not read to its end.
    """
    threads = min(THREADS, processors().usable)
    with (
        progress.task(name, len(items)) as advance,
        closing(map_ahead(work, items, threads, 2 * threads)) as values,
    ):
        for value in values:
            yield value
            advance()
