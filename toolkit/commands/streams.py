"""Standard input, output and error of a command, which the caller may have closed, or a full disk may refuse."""

import io
import os
import sys

from ntire_sr.core.errors import NtireSrError
from ntire_sr.core.files import error_from_os_error


def open_standard_streams() -> None:
    """Make the three standard streams usable.

    Streams that the caller has closed, as services and cron jobs do, lead to the null device. Otherwise the next file that
    is opened would get the number of the closed stream, and receive what is printed. Characters that the terminal
    cannot show are escaped.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
    sys.stdin = sys.stdin or os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8", closefd=False)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def flush_output() -> NtireSrError | None:
    """Write out what is still buffered; returns the error if standard output refuses it.

    The rest is then dropped, so that Python does not try again when it ends. A reader that has left, such as `head`, is
    no error.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if not isinstance(error, BrokenPipeError):
            return error_from_os_error(error, "cannot write the output")
    return None
