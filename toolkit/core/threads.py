"""The same work on many image files, by a few threads."""

import os
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from PIL import Image
from rich.console import Console
from rich.progress import MofNCompleteColumn, TimeRemainingColumn

from ntire_sr.core.progress import progress_bar

THREADS = 4  # at most; decoding does not hold Python's lock

Item = TypeVar("Item")
Value = TypeVar("Value")


def map_in_threads(
    work: Callable[[Item], Value], items: Sequence[Item], what: str, console: Console | None = None
) -> Iterator[Value]:
    """`work(item)` of each item in turn, a few items ahead of what was asked for, with a progress bar.

    What `work` raises is raised at its item. Close the iterator where it is not read to its end.
    """
    threads = min(THREADS, os.cpu_count() or 1)
    waiting: deque[Future[Value]] = deque()
    columns = (MofNCompleteColumn(), TimeRemainingColumn())
    with warnings.catch_warnings(), progress_bar(*columns, console=console) as progress:
        # Filters are the whole process's. Those that `read_image` sets and takes back, in any order among
        # threads, are in force here all the time, and afterwards all are as before.
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        task = progress.add_task(what, total=len(items))
        pool = ThreadPoolExecutor(threads, "images")
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
                    progress.advance(task)
            while waiting:
                yield waiting.popleft().result()
                progress.advance(task)
        finally:
            pool.shutdown(cancel_futures=True)
