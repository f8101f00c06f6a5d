"""The status of a run, read from its folder alone and without torch."""

import re
from pathlib import Path

from ntire_sr.core.errors import NtireSrError
from ntire_sr.core.files import read_json
from ntire_sr.core.run_folder import RunFolder

_NAME = re.compile(r"step_(\d{9})\.pt")


def saved_steps(folder: Path) -> list[tuple[int, Path]]:
    """(step, path) of every checkpoint of a folder, newest first."""
    if not folder.is_dir():
        return []
    steps = [(int(match[1]), path) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))]
    return sorted(steps, reverse=True)


def run_state(run: RunFolder) -> str:
    """`finished`, `absent`, or the number of steps that are done, as in "250 of 700 steps"."""
    if not run.config.is_file():
        return "absent"
    steps = read_json(run.config, "configuration").get("steps")
    if not isinstance(steps, int):
        raise NtireSrError(
            f"{run.config} is damaged (it has no setting steps)", "start again in a new folder with --run"
        )
    if is_finished(run, steps):
        return "finished"
    done = next((step for step, _ in saved_steps(run.checkpoints)), 0)
    return f"{done} of {steps} steps"


def is_finished(run: RunFolder, steps: int) -> bool:
    """Whether the run's newest checkpoint is that of its last step, `steps`, and its weights exist."""
    saved = saved_steps(run.checkpoints)
    return bool(saved) and saved[0][0] >= steps and run.weights.is_file()
