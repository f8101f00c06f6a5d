"""What each part of the training is worth: every row has the same processor time, data and measure.

    python benchmarks/ablation.py --hr FOLDER --out FOLDER [--scale 4 --minutes 10 --threads 1 --only NAME ...]

A row is a training with its own settings. Its steps are what fits into the time: a few steps are timed
first. Some photographs of the folder are held out of all trainings; samples of their middles are drawn
and scored. What is finished is kept in OUT/rows, so that a run goes on where it stopped; OUT/table.md is
the table, OUT/samples.png a row of pictures per row of it. Each scale has an OUT of its own; with
--start-from OTHER_OUT each row begins with the weights of the same row there.
"""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import SAMPLES, command, draw, score

from ntire_sr.challenge.names import SampleName
from ntire_sr.core.distributed import ProcessGroup
from ntire_sr.core.files import atomic_write, make_folder, read_json, write_json
from ntire_sr.core.progress import SILENT
from ntire_sr.core.run_folder import RunFolder
from ntire_sr.core.seeding import make_generator
from ntire_sr.data.lr_images import make_lr, write_validation
from ntire_sr.data.patches import PatchDataset
from ntire_sr.samples.folders import list_images
from ntire_sr.samples.image_files import read_image, write_png
from ntire_sr.training.run_config import make_run_config

HELD_OUT = 12  # photographs
SIDE = 384  # pixels of the middle of each that is measured, at most
TIMED_STEPS = 40
PICTURED = ((90, 110), (70, 260))  # top and left of a crop of each embedded validation photograph
PICTURE = 96


@dataclass(frozen=True)
class Row:
    """One training; no settings: bicubic enlargement, which needs none."""

    name: str
    says: str  # in the table
    settings: dict[str, Any] | None


STOCHASTIC = {"model": "stochastic"}
SRGAN = {"model": "srgan", "batch": 6, "patch": 96, "ema_decay": 0.999}
ROWS = (
    Row("bicubic", "bicubic + projection", None),
    Row("l1", "L1 + projection", STOCHASTIC | {"warm_up": 1.0}),
    Row("srgan", "`srgan`, as the students wrote it", SRGAN),
    Row("srgan-seed1", "the same, another seed", SRGAN | {"seed": 1}),
    Row("msgan", "`srgan` with MSGAN's ratio term", SRGAN | {"diversity": "ratio", "gamma": 0.015}),
    Row("stochastic", "`stochastic`", STOCHASTIC),
    Row("stochastic-seed1", "the same, another seed", STOCHASTIC | {"seed": 1}),
    Row("gamma0", "gamma 0", STOCHASTIC | {"gamma": 0.0}),
    Row("gamma40", "gamma .40", STOCHASTIC | {"gamma": 0.40}),
    Row("gamma55", "gamma .55", STOCHASTIC | {"gamma": 0.55}),
    Row("adversarial03", "adversarial share .3", STOCHASTIC | {"adversarial": 0.3}),
    Row("no-adversarial", "without adversarial term", STOCHASTIC | {"adversarial": 0.0}),
    Row("no-best", "without best-of-K", STOCHASTIC | {"best_weight": 0.0}),
    Row("sample-wide", "with a latent for the whole sample", STOCHASTIC | {"global_latent": True}),
    Row("projection-at-test", "projection when drawing only", STOCHASTIC | {"projection": False}),
)


def split(hr: Path, out: Path, scale: int) -> tuple[Path, Path, Path]:
    """Folders of photographs to train on (links), of held-out middles, and of their LR images."""
    training, held, lr = out / "train", out / "HR", out / "LR"
    paths = list_images(hr, "HR", recursive=True)
    every = len(paths) / HELD_OUT
    chosen = [paths[int((index + 0.5) * every)] for index in range(HELD_OUT)]
    if not lr.exists():
        make_folder(training)
        for number, path in enumerate(paths):
            link = training / f"{number:05d}{path.suffix}"
            if path not in chosen and not link.exists():
                link.symlink_to(path.resolve())
        for number, path in enumerate(chosen, start=801):
            image = read_image(path)
            height, width = (min(SIDE, side // 8 * 8) for side in image.shape[:2])
            top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
            crop = np.ascontiguousarray(image[top : top + height, left : left + width])
            write_png(held / f"{number:04d}.png", crop)
        part = out / "LR.part"
        make_lr(held, part, scale)
        part.rename(lr)  # under its name only when all is there
    return training, held, lr


def steps_in(seconds: float, settings: dict[str, Any], training: Path) -> int:
    """How many steps of such a training take this processor time, all its phases in proportion."""
    run_config = make_run_config({**settings, "hr": str(training), "steps": TIMED_STEPS, "device": "cpu"})
    config = run_config.config
    photographs = PatchDataset(training, config.patch, config.scale, config.cache)
    made = run_config.trainer.trainer(config, run_config.settings, torch.device("cpu"), ProcessGroup(), SILENT)
    began = 0.0
    for step in range(TIMED_STEPS + 1):
        if step == 1:  # the first one fills caches
            made.gan.steps_done, began = 0, time.process_time()
        lr, hr, _ = photographs.finish(
            photographs.prepare(config.batch, config.seed, step), torch.device("cpu")
        )
        made.step(lr, hr, [make_generator(config.seed, step, index) for index in range(config.batch)])
    return max(1, round(seconds / (time.process_time() - began) * TIMED_STEPS))


def measure(
    row: Row, out: Path, folders: tuple[Path, Path, Path], options: argparse.Namespace
) -> dict[str, Any]:
    """Train, draw and score one row, from where it had come to."""
    training, held, lr = folders
    run = out / "runs" / row.name
    scale, threads = options.scale, options.threads
    settings = (row.settings or {}) | {"scale": scale}
    if options.start_from:
        settings["start_from"] = str((options.start_from / "runs" / row.name / "weights.safetensors").resolve())
    weights: str | Path = "bicubic"
    found: dict[str, Any] = {"name": row.name, "settings": row.settings, "steps": 0, "cpu_seconds": 0.0}
    if row.settings is not None:
        if (run / "config.json").exists():
            steps, interrupted = read_json(run / "config.json", "configuration")["steps"], True
        else:
            steps, interrupted = steps_in(60 * options.minutes, settings, training), False
        chosen = settings | {"hr": training, "validation": "none"}
        words = [word for name, value in chosen.items() for word in ("--set", f"{name}={value}")]
        words += ["--run", str(run), "--steps", str(steps), "--max-minutes", "0", "--device", "cpu", "--resume"]
        spent = command("train", *words, threads=threads)
        weights = run / "weights.safetensors"
        found |= {"steps": steps, "cpu_seconds": None if interrupted else round(spent, 1)}
    samples = out / "samples" / row.name
    draw(weights, scale, lr, samples, threads)
    return found | {"summary": score(samples, held, out / "scores" / row.name, scale, threads)["summary"]}


def table(found: list[tuple[Row, dict[str, Any]]]) -> str:
    """The Markdown table of the rows that are finished."""
    lines = [
        "| | LPIPS, lower is better | S_10 in %, higher | r (LPIPS) | r (pixels) | NIQE, lower | worst LR-PSNR in dB "
        "| steps | processor seconds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row, values in found:
        s = values["summary"]
        r = [f"{s[name]:.2f}" if s.get(name) is not None else "" for name in ("r_LPIPS", "r_pixels")]
        spent = values["cpu_seconds"]
        figures = [
            f"{s['LPIPS_mean']:.3f}", f"{s['score']:.1f}", *r, f"{s['niqe']:.2f}", f"{s['LRPSNR_worst_sample']:.1f}",
            str(values["steps"] or ""), "interrupted" if spent is None else f"{spent:.0f}" if spent else "",
        ]  # fmt: skip
        lines.append(" | ".join([f"| {row.says}", *figures]) + " |")
    return "\n".join(lines) + "\n"


def pictures(out: Path, finished: list[Row], scale: int, threads: int) -> np.ndarray:
    """Pictures of a place in each validation photograph: HR, two samples, and six times the samples' deviation.

    There is a row of pictures per row of the table. The photographs are those embedded in scikit-image, since the
    held-out ones may not be ours to show.
    """
    folder = RunFolder(out)
    lr = write_validation(folder, scale)
    hr = [read_image(path) for path in list_images(folder.validation_hr, "HR")]
    rows = []
    for row in finished:
        samples = out / "pictured" / row.name
        weights = "bicubic" if row.settings is None else out / "runs" / row.name / "weights.safetensors"
        draw(weights, scale, lr, samples, threads)
        parts = []
        for number, (top, left) in enumerate(PICTURED):
            place = (slice(top, top + PICTURE), slice(left, left + PICTURE))
            names = [samples / str(SampleName(number, k)) for k in range(SAMPLES)]
            drawn = np.stack([read_image(path)[place] for path in names])
            spread = np.clip(drawn.astype(np.float32).std(0) * 6, 0, 255).round().astype(np.uint8)
            parts += [hr[number][place], drawn[0], drawn[1], spread]
        rows.append(np.concatenate(parts, 1))
    return np.ascontiguousarray(np.concatenate(rows).repeat(2, 0).repeat(2, 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hr", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scale", type=int, choices=(4, 8), default=4)
    parser.add_argument("--minutes", type=float, default=10, help="of processor time per row")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--start-from", type=Path, metavar="OTHER_OUT", help="an OUT of the other scale")
    parser.add_argument("--only", nargs="*", help="names of rows: " + ", ".join(row.name for row in ROWS))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    out = make_folder(options.out)
    folders = split(options.hr, out, options.scale)
    for row in ROWS:
        kept = out / "rows" / f"{row.name}.json"
        if (options.only and row.name not in options.only) or kept.exists():
            continue
        print(f"{row.name} ...", flush=True)
        write_json(kept, measure(row, out, folders, options))
    finished = [row for row in ROWS if (out / "rows" / f"{row.name}.json").exists()]
    text = table([(row, json.loads((out / "rows" / f"{row.name}.json").read_text())) for row in finished])
    atomic_write(out / "table.md", text)
    write_png(out / "samples.png", pictures(out, finished, options.scale, options.threads))
    print(text)


if __name__ == "__main__":
    main()
