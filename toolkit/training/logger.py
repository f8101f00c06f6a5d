"""What a training leaves to be read: `log.jsonl`, previews, and TensorBoard's files where they are wanted."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ntire_sr.core.errors import WrongUse
from ntire_sr.core.files import atomic_write, failure_from_os_error, json_safe, make_folder
from ntire_sr.core.layout import RunFolder
from ntire_sr.core.progress import Progress
from ntire_sr.training.validation import ValidationResult


class RunLogger:
    """Everything that is written about the steps of a run.

    Args:
        run: its folder.
        progress: where remarks are said aloud.
        tensorboard: also write for TensorBoard, into the run folder.
        step: the run goes on after this one; what was written of later ones is dropped.

    Raises:
        WrongUse: TensorBoard is wanted and not installed.
    """

    def __init__(self, run: RunFolder, progress: Progress, tensorboard: bool, step: int):
        self.run, self.progress = run, progress
        self._board: Any = None
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError as error:
                raise WrongUse(
                    "tensorboard=true needs TensorBoard", "pip install 'ntire-sr[tensorboard]'"
                ) from error
            self._board = SummaryWriter(str(run.tensorboard), purge_step=step + 1)
        _trim(run.log, step)
        for path in run.previews.glob("*.png") if run.previews.is_dir() else ():
            if path.stem.isdigit() and int(path.stem) > step:
                path.unlink(missing_ok=True)

    def log(self, values: Mapping[str, Any]) -> None:
        """One line of the log; `values["step"]` says which step it is of.

        Raises:
            Failure: it cannot be written.
        """
        rounded = {
            name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in values.items()
        }
        try:
            with open(self.run.log, "a", encoding="utf-8") as file:
                file.write(json.dumps(json_safe(rounded)) + "\n")
        except OSError as error:
            raise failure_from_os_error(error, f"cannot write {self.run.log}") from error
        if self._board:
            for name, value in values.items():
                if isinstance(value, (int, float)) and name != "step":
                    self._board.add_scalar(name, value, values["step"])

    def log_preview(self, step: int, look: ValidationResult) -> None:
        """The preview of a look at the validation photographs."""
        atomic_write(make_folder(self.run.previews) / f"{step:09d}.png", look.png())
        if self._board:
            self._board.add_image("preview", look.preview, step, dataformats="HWC")

    def log_remark(self, step: int, text: str) -> None:
        """A remark on the run, aloud and in the log."""
        self.progress.message(f"step {step}: {text}")
        self.log({"step": step, "remark": text})

    def flush(self) -> None:
        """Before a checkpoint: what is older than one is never written again."""
        if self._board:
            self._board.flush()

    def close(self) -> None:
        if self._board:
            self._board.close()


def _trim(path: Path, step: int) -> None:
    """Drop the lines after `step`: a resumed run writes them again. Half a line at the end goes too."""
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
