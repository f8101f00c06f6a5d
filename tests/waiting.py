"""Waiting for other processes, for as long as a busy machine needs."""

import subprocess
import time
from collections.abc import Callable

PATIENCE_SECONDS = 900  # only what hangs takes longer


def wait_until(condition: Callable[[], object], process: subprocess.Popen | None = None) -> None:
    """Wait until `condition()` is true or the process has ended.

    Raises:
        AssertionError: neither happened in a quarter of an hour.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition() and (process is None or process.poll() is None):
        assert time.monotonic() < deadline, f"waited for {PATIENCE_SECONDS} seconds"
        time.sleep(0.002)
