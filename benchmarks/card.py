"""The tables and pictures of a model card: several weights on the same photographs, and what they draw.

    python benchmarks/card.py --scale 4 --hr FOLDER [FOLDER ...] --out FOLDER NAME=WEIGHTS [NAME=WEIGHTS ...]
    python benchmarks/card.py --scale 4 --out FOLDER --pictures WEIGHTS

WEIGHTS is a file or the name of a model. What is finished is kept in OUT, so that a call goes on where
another stopped; OUT/table.md is the table. The pictures show photographs that are embedded in scikit-image:
all places of 160 pixels are scored, and the two in the middle of them (of different photographs) and the
worst one are shown: LR, HR, three samples, six times the standard deviation of ten.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import SAMPLES, draw, score

from ntire_sr.challenge.downscale import crop_size
from ntire_sr.challenge.names import SampleName
from ntire_sr.core.files import atomic_write, make_folder
from ntire_sr.data.lr_images import make_lr
from ntire_sr.data.photographs import TRAINING_PHOTOGRAPHS, VALIDATION_PHOTOGRAPHS, embedded_photographs
from ntire_sr.models.registry import MODELS
from ntire_sr.samples.folders import list_images
from ntire_sr.samples.image_files import read_image, write_png

SIDE = 160  # of a pictured place
SHOWN = 3  # samples


def lr_of(hr: Path, out: Path, scale: int) -> Path:
    """The folder of LR images of a folder of photographs, made if it is not there."""
    lr = out / f"LRx{scale}"
    if not lr.exists():
        part = out / "LR.part"
        make_lr(hr, part, scale)
        part.rename(lr)  # under its name only when all is there
    return lr


def row(says: str, found: dict[str, Any]) -> str:
    s = found["summary"]
    r = [f"{s[name]:.2f}" if s.get(name) is not None else "" for name in ("r_LPIPS", "r_pixels")]
    figures = [
        *(f"{s[name]:.3f}" for name in ("LPIPS_mean", "LPIPS_best_sample", "LPIPS_worst_sample")),
        f"{s['score'] or 0:.1f}", *r, *(f"{float(s[name]):.1f}" for name in ("LRPSNR_mean", "LRPSNR_worst_sample")),
        f"{s['niqe']:.2f}",
    ]  # fmt: skip
    return " | ".join([f"| {says}", *figures]) + " |"


def table(folders: list[Path], weights: dict[str, str], scale: int, out: Path, threads: int) -> str:
    lines = []
    for hr in folders:
        place = make_folder(out / hr.name)
        lr = lr_of(hr, place, scale)
        rows, niqe = [], 0.0
        for number, (says, file) in enumerate(weights.items()):
            print(f"{hr.name}: {says} ...", flush=True)
            samples = place / f"samples_x{scale}_{number}"
            always_alike = file in MODELS and not MODELS[file].needs_weights
            draw(file, scale, lr, samples, threads, 1 if always_alike else SAMPLES)
            found = score(samples, hr, place / f"score_x{scale}_{number}", scale, threads)
            niqe = found["summary"]["niqe_of_HR"]
            rows.append(row(says, found))
        lines += [
            f"| {hr.name}, x{scale}, NIQE of HR {niqe:.2f} | LPIPS | best | worst | S_10 in % | r (LPIPS) | r (pixels) "
            "| LR-PSNR | worst | NIQE |",
            "|---|---|---|---|---|---|---|---|---|---|",
            *rows,
            "",
        ]
    return "\n".join(lines)


def pictures(weights: str, scale: int, out: Path, threads: int) -> np.ndarray:
    whole, places, drawn = out / "embedded", out / "places", out / "places_drawn"
    names = [
        name for name in (*TRAINING_PHOTOGRAPHS, *VALIDATION_PHOTOGRAPHS) if name != "motorcycle_right.png"
    ]
    for number, path in enumerate(embedded_photographs(tuple(names))):
        image = read_image(path)
        height, width = crop_size(*image.shape[:2])
        write_png(whole / f"{number:04d}.png", np.ascontiguousarray(image[:height, :width]))
    lr = lr_of(whole, out, scale)
    draw(weights, scale, lr, out / "embedded_drawn", threads)
    origins = []  # photograph, top, left of each place
    for photograph, (hr_path, lr_path) in enumerate(
        zip(list_images(whole, "HR"), list_images(lr, "LR"), strict=True)
    ):
        hr, small = read_image(hr_path), read_image(lr_path)
        samples = [read_image(out / "embedded_drawn" / str(SampleName(photograph, k))) for k in range(SAMPLES)]
        for top in range(0, hr.shape[0] - SIDE + 1, SIDE):
            for left in range(0, hr.shape[1] - SIDE + 1, SIDE):
                here = (slice(top, top + SIDE), slice(left, left + SIDE))
                write_png(places / f"{len(origins):04d}.png", np.ascontiguousarray(hr[here]))
                for k, sample in enumerate(samples):
                    write_png(drawn / str(SampleName(len(origins), k)), np.ascontiguousarray(sample[here]))
                there = tuple(slice(side.start // scale, side.stop // scale) for side in here)
                origins.append((photograph, small[there].repeat(scale, 0).repeat(scale, 1)))
    images = score(drawn, places, out / "places_score", scale, threads)["images"]
    order = sorted(range(len(images)), key=lambda index: images[index]["LPIPS_mean"])
    by_middle = sorted(order, key=lambda index: abs(order.index(index) - len(order) // 2))
    second = next(index for index in by_middle if origins[index][0] != origins[by_middle[0]][0])
    rows = []
    for index in (by_middle[0], second, order[-1]):
        print(f"place {index} of photograph {origins[index][0]}: LPIPS {images[index]['LPIPS_mean']:.3f}")
        samples = np.stack([read_image(drawn / str(SampleName(index, k))) for k in range(SAMPLES)])
        spread = np.clip(samples.astype(np.float32).std(0) * 6, 0, 255).round().astype(np.uint8)
        shown = (origins[index][1], read_image(places / f"{index:04d}.png"), *samples[:SHOWN], spread)
        rows.append(np.concatenate(shown, 1))
    return np.ascontiguousarray(np.concatenate(rows).repeat(2, 0).repeat(2, 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", nargs="*", metavar="NAME=WEIGHTS", help="a row of the table each")
    parser.add_argument("--hr", type=Path, nargs="*", default=[], help="folders of photographs, a table each")
    parser.add_argument("--pictures", metavar="WEIGHTS", help="weights to draw pictures with")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scale", type=int, choices=(4, 8), required=True)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    out = make_folder(options.out)
    if options.hr:
        rows = dict(each.split("=", 1) for each in options.weights)
        text = table(options.hr, rows, options.scale, out, options.threads)
        atomic_write(out / f"table_x{options.scale}.md", text)
        print(text)
    if options.pictures:
        folder = make_folder(out / f"pictures_x{options.scale}")
        picture = pictures(options.pictures, options.scale, folder, options.threads)
        write_png(out / f"samples_x{options.scale}.png", picture)


if __name__ == "__main__":
    main()
