"""The weights that are used if the user gives none."""

from ntire_sr.core.files import read_json
from ntire_sr.core.run_folder import RunFolder
from ntire_sr.models.external import check_file, names_network
from ntire_sr.models.registry import MODELS, SHIPPED_MODEL


def default_weights(run: RunFolder, state: str) -> tuple[str | None, str, str | None]:
    """The weights of a finished run, else those that come with the package.

    Args:
        run: the run folder.
        state: state of its training, see `ntire_sr.training.status.run_state`.

    Returns:
        For `load_model` the network from outside the package that the run has trained, or None for other models;
        and a path or a model's name. And a note for the user, or None if the run is finished or absent.

    Raises:
        UsageError: the network's file is gone.
    """
    if state == "finished":
        return _trained_network(run), str(run.weights), None
    if state == "absent":
        return None, SHIPPED_MODEL, None
    return (
        None,
        SHIPPED_MODEL,
        (
            f"{run.path} is not finished ({state}): drawing with the package's weights; "
            f"--run {run.path} draws with its own"
        ),
    )


def _trained_network(run: RunFolder) -> str | None:
    """The network from outside the package that a run has trained, as its config.json names it; None for other models."""
    config = read_json(run.config, "configuration") if run.config.is_file() else {}
    model = str(config.get("model", SHIPPED_MODEL))
    if model in MODELS or not names_network(model):
        return None
    check_file(model, run.path)
    return model
