"""Packs what `gpu.py` needs into one folder that runs on a machine without a network and without this checkout.

    python benchmarks/gpu_pack.py --hr FOLDER --out KIT [--wheels FOLDER]

KIT gets the package with the x4 weights, the tests, the benchmarks, the unpacked wheels of FOLDER, and crops of the
photographs, until it has `--mebibytes`. Crops start at multiples of 8 pixels, so that those of a JPEG of the same
quality lose almost nothing when they are saved again.
"""

import argparse
import random
import shutil
import tempfile
import zipfile
from pathlib import Path

import cv2
import numpy as np

from ntire_sr.core.errors import NtireSrError, plural, require
from ntire_sr.core.files import atomic_write, make_folder
from ntire_sr.data.patches import sharpness
from ntire_sr.models.package_weights import trunk_files
from ntire_sr.models.weights_files import needed_trunk
from ntire_sr.samples.folders import list_images
from ntire_sr.samples.image_files import read_image

ROOT = Path(__file__).resolve().parents[1]
SCALE = 4
MEBIBYTES = 62.0  # the machine takes 64 MiB
GRID = 8  # pixels: side of a JPEG's blocks
LEFT_OUT = ("__pycache__", "version_0_1_0", "*_x[48].safetensors", "trunk_*.safetensors")


def copy_code(kit: Path) -> None:
    """Copy the package, as it is installed, with the weights of SCALE; the tests, and the benchmarks."""
    left_out = shutil.ignore_patterns(*LEFT_OUT)
    shutil.copytree(ROOT / "toolkit", kit / "ntire_sr", ignore=left_out)
    for name in ("models", "evaluation", "submission"):
        shutil.copytree(ROOT / name, kit / "ntire_sr" / name, ignore=left_out)
    for name in ("tests", "benchmarks"):
        shutil.copytree(ROOT / name, kit / name, ignore=left_out)
    for name in ("pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, kit)
    weights = ROOT / "models" / f"stochastic_x{SCALE}.safetensors"
    for path in (weights, *trunk_files(needed_trunk(weights) or "")):
        shutil.copy(path, kit / "ntire_sr" / "models")


def unpack_wheels(folder: Path, kit: Path) -> int:
    """Unpack wheels where `gpu.py` lets Python find them; returns their number."""
    wheels = sorted(folder.glob("*.whl"))
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(kit / "site")
    return len(wheels)


def folder_bytes(folder: Path) -> int:
    """Size of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def corners_by_detail(image: np.ndarray, side: int) -> list[tuple[int, int]]:
    """Top left corners of the crops of an image that do not overlap, the most detailed first."""
    steps = [range(0, length - side + 1, -(-side // GRID) * GRID) for length in image.shape[:2]]
    corners = [(top, left) for top in steps[0] for left in steps[1]]
    return sorted(corners, key=lambda corner: -sharpness(cut(image, corner, side)))


def cut(image: np.ndarray, corner: tuple[int, int], side: int) -> np.ndarray:
    return image[corner[0] : corner[0] + side, corner[1] : corner[1] + side]


def pack_crops(paths: list[Path], out: Path, side: int, quality: int, budget: int) -> tuple[int, int]:
    """Write crops as JPEG files, without subsampling of colours, until they fill `budget` bytes.

    First the most detailed crop of every photograph, then the second of every photograph, and so on.

    Returns:
        The number of crops and their size in bytes.
    """
    random.Random(0).shuffle(paths)  # where the budget ends within a round, it ends at any photograph
    corners = {path: corners_by_detail(read_image(path), side) for path in paths}
    words = [
        cv2.IMWRITE_JPEG_QUALITY,
        quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]
    number = used = 0
    for turn in range(max(map(len, corners.values()), default=0)):
        for path in paths:
            if turn >= len(corners[path]):
                continue
            crop = np.ascontiguousarray(cut(read_image(path), corners[path][turn], side)[..., ::-1])
            encoded = cv2.imencode(".jpg", crop, words)[1].tobytes()
            if used + len(encoded) > budget:
                return number, used
            atomic_write(make_folder(out) / f"{number:05d}.jpg", encoded)
            number, used = number + 1, used + len(encoded)
    return number, used


def pack(kit: Path, options: argparse.Namespace) -> str:
    """Make the folder with the options of the command; returns a description of it.

    Raises:
        NtireSrError: a folder is empty, a photograph cannot be read, or no crop fits into the size.
    """
    paths = list_images(options.hr, "HR", recursive=True)
    copy_code(kit)
    wheels = unpack_wheels(options.wheels, kit) if options.wheels else 0
    require(
        not options.wheels or wheels > 0, f"--wheels {options.wheels} holds no wheels", "a folder of .whl files"
    )
    rest = int(options.mebibytes * 2**20) - folder_bytes(kit)
    if rest <= 0:
        raise NtireSrError(
            f"the folder is {-rest / 2**20:.1f} MiB too large without crops", "a larger --mebibytes"
        )
    crops, used = pack_crops(paths, kit / "crops", options.side, options.quality, rest)
    if not crops:
        raise NtireSrError(
            f"no photograph in {options.hr} has a crop of {options.side} px that fits", "a smaller --side"
        )
    return (
        f"{folder_bytes(kit) / 2**20:.1f} MiB, with {plural(wheels, 'wheel')} and {plural(crops, 'crop')} of "
        f"{options.side} px ({used / 2**20:.1f} MiB) from {plural(len(paths), 'photograph')}"
    )


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hr", type=Path, required=True, help="folder of training photographs")
    parser.add_argument("--out", type=Path, required=True, metavar="KIT", help="the folder to make")
    parser.add_argument("--wheels", type=Path, help="folder of wheels that the machine lacks")
    parser.add_argument("--side", type=int, default=256, help="of a crop in pixels")
    parser.add_argument("--quality", type=int, default=95, help="of the crops' JPEG files")
    parser.add_argument("--mebibytes", type=float, default=MEBIBYTES, help="size of the whole folder")
    options = parser.parse_args(words)
    require(not options.out.exists(), f"--out {options.out} exists", "another folder, or remove it")
    # under its name only when it is complete
    with tempfile.TemporaryDirectory(dir=make_folder(options.out.parent)) as folder:
        kit = Path(folder) / options.out.name
        report = pack(kit, options)
        kit.rename(options.out)
    print(f"{options.out}: {report}")


if __name__ == "__main__":
    main()
