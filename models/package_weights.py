"""The weights files that come with the package: trunks and their decoders, see MODEL_CARD.md."""

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


def trunk_files(sha256: str) -> list[Path]:
    """The parts of the trunk with this digest, in order; empty if it does not come with the package.

    Each file has less than 16 MB and is named `trunk_DIGEST_1of3.safetensors`, with 12 digits of the digest.
    """
    return sorted(FOLDER.glob(f"trunk_{sha256[:12]}_*.safetensors"))


@cache
def trunk_tensors(sha256: str) -> dict[str, Tensor]:
    """The tensors of the trunk with this digest under a generator's names; 16-bit weights, 32-bit biases."""
    return {f"{TRUNK}{name}": value for path in trunk_files(sha256) for name, value in load_file(path).items()}


def with_trunk(path: Path, tensors: dict[str, Tensor], trunk_sha256: str | None) -> dict[str, Tensor]:
    """Add its trunk, which comes with the package, to the tensors of a weights file that was saved without its trunk.

    Args:
        path: the file, for the error.
        tensors: the file's tensors.
        trunk_sha256: digest of the trunk that it was trained on, see `tensors_digest`; None: it has no such trunk.

    Raises:
        NtireSrError: it was trained on a trunk that neither it nor the package contains.
    """
    if trunk_sha256 is None or any(name.startswith(TRUNK) for name in tensors):
        return tensors
    if not trunk_files(trunk_sha256) or tensors_digest(trunk_tensors(trunk_sha256)) != trunk_sha256:
        raise NtireSrError(
            f"{path} needs the trunk with SHA-256 {trunk_sha256[:12]}, which does not come with this version of ntire-sr",
            "use the version of ntire-sr that it came with",
        )
    return {**trunk_tensors(trunk_sha256), **tensors}
