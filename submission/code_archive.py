"""The archive with fact sheet and code: its members, and warnings about what it lacks."""

from pathlib import Path

from ntire_sr.core.package_files import package_files
from ntire_sr.models.checkpoints import is_checkpoint
from ntire_sr.models.package_weights import trunk_files
from ntire_sr.models.weights_files import needed_trunk
from ntire_sr.samples.folders import MANIFEST
from ntire_sr.samples.manifest import Manifest
from ntire_sr.samples.sources import file_source
from ntire_sr.submission.archive import Member, text_member
from ntire_sr.submission.facts import Facts
from ntire_sr.submission.factsheet import as_latex, as_markdown
from ntire_sr.submission.origin import Origin
from ntire_sr.submission.reproduce import reproduce


def code_members(sr: Path, origin: Origin, facts: Facts) -> list[Member]:
    """Fact sheet, instructions to reproduce the samples, and all files for that: code, weights, settings."""
    manifest = facts.manifest
    weights_name = _weights_name(manifest, origin.weights)
    members = [
        text_member("factsheet.md", as_markdown(facts)),
        text_member("factsheet.tex", as_latex(facts)),
        text_member("REPRODUCE.md", reproduce(facts, weights_name)),
    ]
    optional = {
        weights_name: origin.weights,
        "manifest.json": sr / MANIFEST if manifest else None,
        "config.json": origin.config,
        "score.json": origin.score,
    }
    files = {name: path for name, path in optional.items() if path}
    files |= {f"network/{name}": path for name, path in (origin.network or {}).items()}
    # the weights used are listed above; of the package's own weights only a trunk that they need is added. The feature
    # networks draw nothing: `score` and `train` of this copy download them
    is_external = manifest is not None and manifest.code is not None
    own = origin.weights if origin.weights and not is_external and not is_checkpoint(origin.weights) else None
    trunk = needed_trunk(own) if own else None
    needed = set(trunk_files(trunk)) if trunk else set()
    for name, path in package_files():
        is_weights = name.startswith(("ntire_sr/models/", "ntire_sr/core/")) and path.suffix == ".safetensors"
        if not is_weights or path in needed:
            files[f"code/{name}"] = path
    return members + [Member(name, file_source(path, name)) for name, path in files.items()]


def _weights_name(manifest: Manifest | None, weights: Path | None) -> str:
    """The name of the weights in the archive; those of a network from outside may have any format."""
    return f"weights{weights.suffix if weights else '.safetensors'}"


def missing_file_warnings(manifest: Manifest | None, origin: Origin) -> list[str]:
    """Warnings about weights and network code that the archive lacks."""
    warnings = []
    if manifest and origin.weights is None and manifest.settings.weights_sha256:
        warnings.append(
            "the weights that drew the samples were not found, so the archive with the code lacks them; "
            + ("put them back" if manifest.code else "--run names the run folder that holds them")
        )
    if manifest and manifest.code and origin.network is None:
        warnings.append(
            f"the code of {manifest.settings.model} is missing or was changed since it drew the samples, so the "
            "archive with the code lacks it; put it back as it was"
        )
    return warnings
