"""The rule that stops a training before its last step: a signal, or the time limit."""

import signal
import time
from contextlib import suppress
from typing import Any

from ntire_sr.core.distributed import ProcessGroup


class StopRule:
    """A context in which the first SIGTERM or Ctrl-C only sets the reason to stop; a second interrupts at once.

    Args:
        max_minutes: time limit in minutes from now on; 0 means no limit.
        processes: all of them stop as soon as one has a reason.
    """

    def __init__(self, max_minutes: float, processes: ProcessGroup):
        self._processes = processes
        self._until = time.monotonic() + 60 * max_minutes if max_minutes else None
        self._caught = ""
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> "StopRule":
        with suppress(
            ValueError
        ):  # outside the main thread Python allows no handlers: the caller handles signals
            for number in (signal.SIGTERM, signal.SIGINT):
                self._handlers[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: Any) -> None:
        if self._caught:
            raise KeyboardInterrupt
        self._caught = signal.Signals(number).name

    def reason(self) -> str | None:
        """`time` or a signal's name if any process has to stop, else None; the same on all processes."""
        time_is_up = self._until is not None and time.monotonic() >= self._until
        here = self._caught or ("time" if time_is_up else "")
        if not self._processes.any(bool(here)):
            return None
        return next(reason for reason in self._processes.all_gather(here) if reason)
