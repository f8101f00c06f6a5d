"""Measuring images in several worker processes of one machine (`--workers`).

Workers are for one machine: `score` starts and ends them. torchrun is for several GPUs or machines; there each process
measures its share of the images, and `--workers` is the number of workers of each process.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from typing import TYPE_CHECKING

import torch

from ntire_sr.core.errors import NtireSrError
from ntire_sr.core.progress import Progress
from ntire_sr.evaluation.scoring.matching import SampleGroup
from ntire_sr.evaluation.scoring.records import Records
from ntire_sr.evaluation.scoring.scorer import Scorer, Settings

if TYPE_CHECKING:
    from multiprocessing.sharedctypes import Synchronized

SECONDS_BETWEEN_COUNTS = 1.0  # while workers measure, between two looks at their counter

# of a worker process, which serves one scoring
_scorer: Scorer | None = None
_counter: "Synchronized[int] | None" = None  # samples that all workers have measured


def measure_all(
    groups: list[SampleGroup], scorer: Scorer, records: Records, workers: int, progress: Progress
) -> list[str]:
    """Measure images, and save the record of each as soon as it is measured.

    Args:
        groups: the images of this process, with their samples.
        scorer: the scorer; worker processes make their own with its settings.
        records: records to save to.
        workers: number of worker processes; with 1 this process measures by itself.
        progress: reports how many samples have been measured.

    Returns:
        Messages about the images that could not be measured.
    """
    problems: list[str] = []
    images = 0
    with progress.task("score", sum(len(group.samples) for group in groups)) as advance:

        def count(samples: int) -> None:
            advance(samples, f"{images} of {len(groups)} images")

        for problem in _in_turn(groups, scorer, records, workers, count):
            images += 1
            if problem:
                problems.append(problem)
    return problems


def _in_turn(
    groups: list[SampleGroup], scorer: Scorer, records: Records, workers: int, count: Callable[[int], None]
) -> Iterator[str | None]:
    """Measure the images, call `count` with the number of further samples, and yield the problem of each image."""
    if workers == 1 or len(groups) < 2:
        for group in groups:
            yield _measure(scorer, group, records, count)
        return
    workers = min(workers, len(groups))
    threads = max(1, torch.get_num_threads() // workers)
    # spawned, not forked: a fork would inherit locks of torch's threads
    context = get_context("spawn")
    counter = context.Value("i", 0)
    counted = 0
    pool = ProcessPoolExecutor(
        workers, context, _begin_worker, (scorer.settings, threads, os.getpid(), counter)
    )
    try:
        with _interrupts_ignored():  # workers inherit this, so that it holds from their start
            waiting = {pool.submit(_work, group, records) for group in groups}
        while waiting:
            done, waiting = wait(waiting, SECONDS_BETWEEN_COUNTS, FIRST_COMPLETED)
            measured = counter.value
            count(measured - counted)
            counted = measured
            for future in done:
                yield future.result()
    except BrokenProcessPool as error:
        raise NtireSrError(
            "a worker process died, perhaps for lack of memory; the images it had measured are kept",
            "run the same command again with fewer --workers",
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Ignore Ctrl-C, which reaches the whole process group; only the first one reports it and ends others."""
    try:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    except ValueError:  # not in the main thread, which alone receives interrupts
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _begin_worker(settings: Settings, threads: int, parent: int, counter: "Synchronized[int]") -> None:
    global _scorer, _counter
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Python has set its own handler again

    def leave_with_parent() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=leave_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    _scorer, _counter = Scorer(settings), counter


def _work(group: SampleGroup, records: Records) -> str | None:
    assert _scorer
    return _measure(_scorer, group, records, _count)


def _count(samples: int) -> None:
    assert _counter
    with _counter.get_lock():
        _counter.value += samples


def _measure(scorer: Scorer, group: SampleGroup, records: Records, count: Callable[[int], None]) -> str | None:
    try:
        measured = scorer.measure(group, count)
    except NtireSrError as failure:
        return failure.message
    records.save(measured, scorer.key(group))
    return None
