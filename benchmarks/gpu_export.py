"""Weights in 16 bits and in files under 16 MB, and one weights file from these.

python benchmarks/gpu_export.py OUT weights.safetensors    # joins the files that `gpu.py` wrote to OUT
"""

import argparse
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from ntire_sr.core.errors import NtireSrError
from ntire_sr.core.files import atomic_write

MOST_BYTES = 15_500_000  # of the tensors in one file
PART = "part"  # key of the metadata: "1 of 3"
PARTS = "weights_*of*.safetensors"


def read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of a safetensors file."""
    with safe_open(path, framework="pt") as file:
        return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def in_16_bits(value: Tensor) -> Tensor:
    """The tensor in float16, unless that makes a number infinite."""
    half = value.half()
    return half if bool(half.isfinite().all()) else value


def export(weights: Path, out: Path, most_bytes: int = MOST_BYTES) -> list[Path]:
    """Write a weights file as `weights_1of3.safetensors` and so on, in 16 bits; returns the files.

    They are written one after the other, each atomically. Files of an earlier call with another number of parts are removed.
    """
    metadata, tensors = read(weights)
    parts: list[dict[str, Tensor]] = [{}]
    room = most_bytes
    for name, value in tensors.items():
        small = in_16_bits(value)
        size = small.numel() * small.element_size()
        if size > room and parts[-1]:
            parts.append({})
            room = most_bytes
        parts[-1][name] = small
        room -= size
    paths = []
    for number, part in enumerate(parts, 1):
        paths.append(out / f"weights_{number}of{len(parts)}.safetensors")
        atomic_write(paths[-1], save(part, {**metadata, PART: f"{number} of {len(parts)}"}))
    for path in set(out.glob(PARTS)) - set(paths):
        path.unlink()
    return paths


def join(folder: Path, target: Path) -> str:
    """Write one weights file from the files that `export` wrote.

    Returns:
        A message about what was joined. Parts of different steps, where a machine stopped between two of them, are
        joined too, since EMAs of neighbouring saves differ little; the message says so.

    Raises:
        NtireSrError: a file is missing.
    """
    paths = sorted(folder.glob(PARTS))
    numbered = {metadata[PART]: (metadata, tensors) for metadata, tensors in map(read, paths)}
    count = int(next(iter(numbered), "1 of 1").split()[-1])
    missing = [
        f"{number} of {count}" for number in range(1, count + 1) if f"{number} of {count}" not in numbered
    ]
    if missing:
        raise NtireSrError(f"{folder} lacks part {', '.join(missing)} of the weights", "copy all files of OUT")
    facts = {metadata["facts"] for metadata, _ in numbered.values()}
    metadata = {name: value for name, value in numbered["1 of " + str(count)][0].items() if name != PART}
    tensors = {name: value for _, part in numbered.values() for name, value in part.items()}
    atomic_write(target, save(tensors, metadata))
    mixed = "" if len(facts) == 1 else "; its parts are of different steps, since the training was cut off"
    return f"{target}: {sum(map(torch.numel, tensors.values())) / 1e6:.1f} million weights{mixed}"


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="the folder that gpu.py wrote")
    parser.add_argument("target", type=Path, help="the weights file to write")
    options = parser.parse_args(words)
    print(join(options.out, options.target))


if __name__ == "__main__":
    main()
