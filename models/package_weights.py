"""The weights files that come with the package: one trunk and its decoders, see MODEL_CARD.md."""

from functools import cache
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from ntire_sr.core.errors import NtireSrError
from ntire_sr.core.pretrained import tensors_digest

FOLDER = Path(__file__).parent
TRUNK = "rrdb."  # prefix of the trunk's tensors in a generator's weights


def shipped_weights(model: str, scale: int) -> Path | None:
    """Path of the weights that come with the package; None if there are none for this model and scale."""
    path = FOLDER / f"{model}_x{scale}.safetensors"
    return path if path.is_file() else None


def trunk_files() -> list[Path]:
    """The parts of the package's trunk, in order."""
    return sorted(FOLDER.glob("rrdb_trunk_*.safetensors"))


@cache
def trunk_tensors() -> dict[str, Tensor]:
    """The tensors of the package's trunk under a generator's names; 16-bit weights, 32-bit biases."""
    return {f"{TRUNK}{name}": value for path in trunk_files() for name, value in load_file(path).items()}


def with_trunk(path: Path, tensors: dict[str, Tensor], trunk_sha256: str | None) -> dict[str, Tensor]:
    """Add the package's trunk to the tensors of a weights file that was saved without its trunk.

    Args:
        path: the file, for the error.
        tensors: the file's tensors.
        trunk_sha256: digest of the trunk that it was trained on, see `tensors_digest`; None: it has no such trunk.

    Raises:
        NtireSrError: it was trained on another trunk than the package's and does not contain it.
    """
    if trunk_sha256 is None or any(name.startswith(TRUNK) for name in tensors):
        return tensors
    if not trunk_files() or tensors_digest(trunk_tensors()) != trunk_sha256:
        raise NtireSrError(
            f"{path} needs the trunk with SHA-256 {trunk_sha256[:12]}, which does not come with this version of ntire-sr",
            "use the version of ntire-sr that it came with",
        )
    return {**trunk_tensors(), **tensors}
