"""Checkpoints of a training: written atomically, the last two kept, loaded with `weights_only`."""

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from ntire_sr.core.errors import NtireSrError
from ntire_sr.core.files import atomic_write, error_from_os_error
from ntire_sr.training.status import saved_steps

KEEP = 2


def save_checkpoint(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write a training state as a checkpoint, atomically, and remove all checkpoints but the last two.

    Raises:
        NtireSrError: the disk is full or not writable; the earlier checkpoints stay.
    """
    content = io.BytesIO()
    torch.save(state, content)
    path = folder / f"step_{step:09d}.pt"
    atomic_write(path, content.getvalue())
    for _, old in saved_steps(folder)[KEEP:]:
        old.unlink(missing_ok=True)
    return path


def load_checkpoint(folder: Path) -> tuple[int, dict[str, Any], list[str]] | None:
    """The newest readable training state; None if there is no checkpoint.

    Returns:
        (step, state, messages about damaged newer checkpoints).

    Raises:
        NtireSrError: there are checkpoints, but none can be read.
    """
    damaged: list[str] = []
    for step, path in saved_steps(folder):
        try:
            return step, torch.load(path, map_location="cpu", weights_only=True), damaged
        except OSError as error:
            raise error_from_os_error(error, f"cannot read {path}") from error
        except (
            pickle.UnpicklingError,
            RuntimeError,
            EOFError,
            ValueError,
            KeyError,
            zipfile.BadZipFile,
        ) as error:
            damaged.append(
                f"{path} is damaged ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
            )
    if damaged:
        raise NtireSrError(
            "no checkpoint can be read: " + "; ".join(damaged), "start again in a new folder with --run"
        )
    return None
