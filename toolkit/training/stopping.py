"""The rule that stops a training before its last step: a signal, or the time limit."""

import signal
import time
from contextlib import suppress
from typing import Any

from ntire_sr.core.distributed import ProcessGroup

# Schedulers send these before they kill a job, terminals when they close (SIGHUP); not all exist on every system
SIGNALS = ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")


class StopRule:
    """A context in which a signal of SIGNALS only sets the reason to stop; a second Ctrl-C interrupts at once.

    Other signals never interrupt the last save, as a scheduler sends several. A signal that the caller ignores, such as
    SIGHUP under nohup, stays ignored.

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
            for name in SIGNALS:
                number = getattr(signal, name, None)
                if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                    self._handlers[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: Any) -> None:
        if self._caught and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._caught = self._caught or signal.Signals(number).name

    def reason(self) -> str | None:
        """`time` or a signal's name if any process has to stop, else None; the same on all processes."""
        time_is_up = self._until is not None and time.monotonic() >= self._until
        here = self._caught or ("time" if time_is_up else "")
        if not self._processes.any(bool(here)):
            return None
        return next(reason for reason in self._processes.all_gather(here) if reason)
