"""Averages weights files of one network that were trained from the same start, and splits the result for the package.

    python benchmarks/average_weights.py A.safetensors=.3 B.safetensors=.7 --out FOLDER

The average of fine-tuned networks with a common start often draws better than each of them (Wortsman et al., "Model soups",
ICML 2022). OUT gets MODEL_xSCALE.safetensors, and a pretrained trunk in separate files of less than 16 MB; all in 16 bits.
"""

import argparse
import json
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save, save_file

from ntire_sr.core.files import atomic_write, make_folder, sha256_file
from ntire_sr.core.pretrained import tensors_digest
from ntire_sr.models.package_weights import TRUNK
from ntire_sr.models.weights_files import read_weights

PARTS = 3


def average(shares: dict[Path, float]) -> tuple[dict[str, str], dict[str, torch.Tensor], dict[str, Any]]:
    """The metadata of the last file, the averaged tensors in 16 bits, and the facts about the average."""
    read = {path: read_weights(path) for path in shares}
    metadata = read[list(shares)[-1]][0]
    names = next(iter(read.values()))[1].keys()
    tensors = {
        # not from 0, which would turn -0 into 0: the weights of a single file keep their bits and so their digest
        name: reduce(add, (share * read[path][1][name].float() for path, share in shares.items()))
        .half()
        .contiguous()
        for name in names
    }
    facts = json.loads(metadata["facts"])
    facts.pop("metrics", None)  # those of the last file alone
    facts["averaged"] = [{"sha256": sha256_file(path), "share": share} for path, share in shares.items()]
    return metadata, tensors, facts


def write_package_files(
    out: Path, metadata: dict[str, str], tensors: dict[str, torch.Tensor], facts: dict[str, Any]
) -> list[Path]:
    """Write the weights as they come with the package, a pretrained trunk in separate files; returns the files."""
    make_folder(out)
    trunk = {name: value for name, value in tensors.items() if name.startswith(TRUNK)}
    if trunk:
        digest = tensors_digest(trunk)
        facts = facts | {"trunk_sha256": digest, "trunk": "derived from RealSR DF2K x4 (Apache-2.0)"}
        names = sorted(trunk)
    files = []
    for part in range(PARTS if trunk else 0):
        chosen = names[len(names) * part // PARTS : len(names) * (part + 1) // PARTS]
        files.append(out / f"trunk_{digest[:12]}_{part + 1}of{PARTS}.safetensors")
        save_file({name.removeprefix(TRUNK): trunk[name] for name in chosen}, files[-1])
    decoder = {name: value for name, value in tensors.items() if name not in trunk}
    files.append(out / f"{metadata['model']}_x{metadata['scale']}.safetensors")
    atomic_write(files[-1], save(decoder, metadata | {"facts": json.dumps(facts)}))
    return files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", nargs="+", metavar="FILE=SHARE")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    shares = {Path(word.rpartition("=")[0]): float(word.rpartition("=")[2]) for word in options.weights}
    if abs(sum(shares.values()) - 1) > 1e-6:
        parser.error("the shares do not sum to 1")
    metadata, tensors, facts = average(shares)
    for path in write_package_files(options.out, metadata, tensors, facts):
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
