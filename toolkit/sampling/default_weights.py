"""The weights that are used if the user gives none."""

from ntire_sr.core.run_folder import RunFolder
from ntire_sr.models.registry import SHIPPED_MODEL


def default_weights(run: RunFolder, state: str) -> tuple[str, str | None]:
    """The weights of a finished run, else those that come with the package.

    Args:
        run: the run folder.
        state: state of its training, see `ntire_sr.training.status.run_state`.

    Returns:
        A path or a model's name for `load_model`, and a note for the user, or None if the run is finished
        or absent.
    """
    if state == "finished":
        return str(run.weights), None
    if state == "absent":
        return SHIPPED_MODEL, None
    return SHIPPED_MODEL, (
        f"{run.path} is not finished ({state}): drawing with the package's weights; "
        f"--run {run.path} draws with its own"
    )
