"""The log of a training: `log.jsonl`, previews, and TensorBoard's event files if they are enabled."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ntire_sr.core.errors import UsageError
from ntire_sr.core.files import atomic_write, error_from_os_error, json_safe, make_folder
from ntire_sr.core.progress import Progress
from ntire_sr.core.run_folder import RunFolder
from ntire_sr.training.validation import ValidationResult


class RunLogger:
    """Writes log lines, warnings and previews into a run folder.

    Args:
        run: the run folder.
        progress: receives the warnings as messages.
        tensorboard: whether to write TensorBoard's event files as well.
        step: the step that the run resumes from; entries of later steps are removed.

    Raises:
        UsageError: `tensorboard` is true and TensorBoard is not installed.
    """

    def __init__(self, run: RunFolder, progress: Progress, tensorboard: bool, step: int):
        self.run, self.progress = run, progress
        self._board: Any = None
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError as error:
                raise UsageError(
                    "tensorboard=true needs TensorBoard", "pip install 'ntire-sr[tensorboard]'"
                ) from error
            self._board = SummaryWriter(str(run.tensorboard), purge_step=step + 1)
        _trim(run.log, step)
        for path in run.previews.glob("*.png") if run.previews.is_dir() else ():
            if path.stem.isdigit() and int(path.stem) > step:
                path.unlink(missing_ok=True)

    def log(self, values: Mapping[str, Any]) -> None:
        """Append one line to the log; `values["step"]` is its step.

        Raises:
            NtireSrError: it cannot be written.
        """
        rounded = {
            name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in values.items()
        }
        try:
            with open(self.run.log, "a", encoding="utf-8") as file:
                file.write(json.dumps(json_safe(rounded)) + "\n")
        except OSError as error:
            raise error_from_os_error(error, f"cannot write {self.run.log}") from error
        if self._board:
            for name, value in values.items():
                if isinstance(value, (int, float)) and name != "step":
                    self._board.add_scalar(name, value, values["step"])

    def log_preview(self, step: int, validated: ValidationResult) -> None:
        """Write the preview of a validation."""
        atomic_write(make_folder(self.run.previews) / f"{step:09d}.png", validated.png())
        if self._board:
            self._board.add_image("preview", validated.preview, step, dataformats="HWC")

    def log_warning(self, step: int, text: str) -> None:
        """Show a warning about the run as a message and write it to the log."""
        self.progress.message(f"step {step}: {text}")
        self.log({"step": step, "remark": text})  # the key that every version has written

    def flush(self) -> None:
        """Flush TensorBoard's events. To be called before a checkpoint, whose steps are never logged again."""
        if self._board:
            self._board.flush()

    def close(self) -> None:
        if self._board:
            self._board.close()


def _trim(path: Path, step: int) -> None:
    """Remove the lines after `step`, which a resumed run writes again, and an incomplete line at the end."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError):
            continue
    atomic_write(path, "".join(kept))
