"""Whole numbers in environment variables, such as those that `torchrun` sets for its processes."""

import os

from ntire_sr.core.errors import UsageError

TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
REMEDY = f"torchrun, which sets its variables itself; for a single process: unset {' '.join(TORCHRUN)}"


def torchrun_number(name: str, default: int | None = None, least: int = 0) -> int:
    """The whole number in one of the variables that `torchrun` sets.

    Args:
        name: name of the variable.
        default: the number if the variable is not set; None means that it must be set.
        least: least number that it may have.

    Raises:
        UsageError: it is not set, or no whole number of `least` or more.
    """
    text = os.environ.get(name)
    if text is None and default is not None:
        return default
    if text is None:
        raise UsageError(f"the variable {name} is not set, but RANK and MASTER_ADDR are", REMEDY)
    if not (text.isascii() and text.isdecimal() and int(text) >= least):
        raise UsageError(f"the variable {name} is {text!r}, not a whole number of {least} or more", REMEDY)
    return int(text)
