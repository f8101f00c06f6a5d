"""The weights that are used if the user gives none."""

from ntire_sr.core.run_folder import RunFolder
from ntire_sr.models.external import network_of_run
from ntire_sr.models.registry import SHIPPED_MODEL


def default_weights(run: RunFolder, state: str, named: bool) -> tuple[str | None, str, str | None]:
    """The weights of a finished run, else those that come with the package.

    Args:
        run: the run folder.
        state: state of its training, see `ntire_sr.training.status.run_state`.
        named: whether the user has named the run.

    Returns:
        For `load_model` the network from outside the package that the run has trained, or None for other models;
        and a path or a model's name. And a note for the user, or None if the run is finished or absent.

    Raises:
        UsageError: the run has trained a network from outside the package, and is not named, or the network's file is gone.
    """
    if state == "finished":
        return network_of_run(run, named), str(run.weights), None
    if state == "absent":
        return None, SHIPPED_MODEL, None
    note = (
        f"{run.path} is not finished ({state}): drawing with the package's weights; "
        f"--run {run.path} draws with its own"
    )
    return None, SHIPPED_MODEL, note
