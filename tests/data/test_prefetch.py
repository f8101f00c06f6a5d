"""Batches that are made ahead."""

import threading
import time
from types import SimpleNamespace

import pytest

from ntire_sr.core.errors import NtireSrError
from ntire_sr.data.prefetch import AHEAD, Prefetch


def running() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "prefetch"]


def test_batches_come_in_order_and_a_few_are_prefetched():
    made: list[int] = []

    def prepare(step: int) -> int:
        made.append(step)
        return 10 * step

    with Prefetch(prepare, lambda value: value + 1, 3, 9) as batches:
        received = []
        for value in batches:
            time.sleep(0.01)
            received.append(value)
            assert len(made) <= len(received) + AHEAD
    assert received == [31, 41, 51, 61, 71, 81] and made == [3, 4, 5, 6, 7, 8]
    assert not running()


def test_prefetch_raises_an_error_at_its_step():
    def prepare(step: int) -> int:
        if step == 2:
            raise NtireSrError("the disk is gone")
        return step

    received = []
    with (
        pytest.raises(NtireSrError, match="the disk is gone"),
        Prefetch(prepare, lambda step: step, 0, 9) as batches,
    ):
        for step in batches:
            received.append(step)
    assert received == [0, 1] and not running()


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_leaving_the_loop_ends_the_prefetch_thread(error):
    with pytest.raises(error), Prefetch(lambda step: step, lambda step: step, 0, 10**9) as batches:
        for _ in batches:
            raise error
    assert not running()


def test_prefetch_of_no_steps_ends():
    with Prefetch(lambda step: step, lambda step: step, 5, 5) as batches:
        assert list(batches) == [] and batches.waited_seconds == 0


def test_prefetch_measures_only_the_waiting_time(monkeypatch):
    seconds = [0.0]  # only making a batch takes time
    asked, made = threading.Semaphore(0), threading.Semaphore(0)

    def clock() -> float:
        reading = seconds[0]
        asked.release()
        return reading

    def slowly(step: int) -> int:
        seconds[0] += 2
        made.release()
        return step

    def when_asked(step: int) -> int:
        asked.acquire()
        return slowly(step)

    monkeypatch.setattr("ntire_sr.data.prefetch.time", SimpleNamespace(monotonic=clock))
    with Prefetch(when_asked, lambda step: step, 0, 1) as batches:
        assert list(batches) == [0]
    assert batches.waited_seconds == 2
    made.acquire()
    with Prefetch(slowly, lambda step: step, 0, AHEAD) as batches:
        for _ in range(AHEAD):
            made.acquire()
        assert list(batches) == list(range(AHEAD))
    assert batches.waited_seconds == 0
