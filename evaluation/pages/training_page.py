"""The page of a training: its losses, validation figures and previews by step, from the log."""

import base64
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2

from ntire_sr.core.files import atomic_write
from ntire_sr.core.run_folder import RunFolder
from ntire_sr.evaluation.pages.charts import line_chart
from ntire_sr.evaluation.pages.page import render_template
from ntire_sr.models.external import network_label

SCRIPTS = ("page.js", "charts.js")
MOST_POINTS = 200  # of a curve; longer logs are averaged over equal parts
MOST_PREVIEWS = 8
PREVIEW_PX = 1200  # largest width of a preview
PREVIEW_QUALITY = 88

# (label, unit, direction, names in the log -> names on the chart)
VALIDATION = (
    ("Validation LPIPS", "", "lower is better", {"val_lpips": "LPIPS"}),
    ("Validation S_4", "%", "higher is better", {"val_s_4": "of LPIPS", "val_s_4_mse": "of MSE"}),
    ("Validation r", "", "1 is best", {"val_r": "LPIPS", "val_r_pixels": "pixels"}),
    (
        "Validation LR-PSNR",
        "dB",
        "higher is better",
        {"val_lr_psnr_worst": "worst", "val_lr_psnr_network": "of the network"},
    ),
)
NOT_LOSSES = {
    "step",
    "images_per_second",
    "loader_share",
    "learning_rate",
    "skipped",
    "rollbacks",
    "remark",
    "loss",
    "gradient",
    "adversarial_weight",
    "discriminator_accuracy",
}


def write_training_page(run: RunFolder) -> Path:
    """Write `training.html` into the run folder, one file that needs no other; returns its path.

    Lines of the log that cannot be read are left out.
    """
    lines = read_log(run.log)
    config = _read_config(run.config)
    steps = [line["step"] for line in lines]
    last, total = max(steps, default=0), config.get("steps", 0)
    page = render_template(
        "training.html.j2",
        SCRIPTS,
        data={},
        title=f"{network_label(str(config.get('model', 'training')))} x{config.get('scale', '?')}: {run.path.resolve().name}",
        state=f"{last} of {total} steps",
        warnings=[f"step {line['step']}: {line['remark']}" for line in lines if "remark" in line][-10:],
        figures=training_charts(lines),
        previews=_previews(run.previews),
        preview_caption="Validation photographs: the LR image, samples and the HR image, as the file in previews/ shows them.",
    )
    atomic_write(run.training_page, page)
    return run.training_page


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a log that hold a step."""
    lines = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else ():
        try:
            line = json.loads(text)
        except ValueError:
            continue  # cut off when the machine died
        if isinstance(line, dict) and isinstance(line.get("step"), int):
            lines.append(line)
    return lines


def training_charts(lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The charts that the log has values for: loss, terms, r, gradient, validation, learning rate and speed."""
    names = dict.fromkeys(name for line in lines for name, value in line.items() if _is_number(value))
    terms = [
        name
        for name in names
        if not name.startswith(("val_", "r_", "to_hr_", "pair_distance_")) and name not in NOT_LOSSES
    ]
    r = {name: name.removeprefix("r_") for name in names if name.startswith("r_")}
    figures = (
        ("Loss", "", "lower is better", {"loss": "loss"}),
        *((f"Term {name}", "", "", {name: name}) for name in terms),
        ("Calibration r of the training's samples", "", "1 is best", r),
        *VALIDATION,
        ("Accuracy of the discriminator", "", "0.5 is guessing", {"discriminator_accuracy": "accuracy"}),
        ("Gradient norm", "", "", {"gradient": "norm"}),
        ("Learning rate", "", "", {"learning_rate": "learning rate"}),
        ("Speed", "images/s", "higher is better", {"images_per_second": "speed"}),
    )
    charts = []
    for label, unit, direction, shown in figures:
        measured = [name for name in shown if name in names]
        if not measured:
            continue
        x, curves = _curves(lines, measured)
        charts.append(
            line_chart(
                label, x, curves, [shown[name] for name in measured] if len(measured) > 1 else [""],
                x_name="step", x_label="step", unit=unit, direction=direction,
            )
        )  # fmt: skip
    return charts


def _curves(
    lines: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> tuple[list[int], list[list[float | None]]]:
    """Steps, and the values of each name there; of long logs the means of equal numbers of lines."""
    used = [line for line in lines if any(_is_number(line.get(name)) for name in names)]
    size = math.ceil(len(used) / MOST_POINTS) or 1
    parts = [used[start : start + size] for start in range(0, len(used), size)]
    return [part[-1]["step"] for part in parts], [
        [_mean(line.get(name) for line in part) for part in parts] for name in names
    ]


def _mean(values: Iterable[Any]) -> float | None:
    numbers = [float(value) for value in values if _is_number(value)]
    return sum(numbers) / len(numbers) if numbers else None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _read_config(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _previews(folder: Path) -> list[dict[str, Any]]:
    """The newest previews, the newest first, as data URLs."""
    paths = sorted(
        (path for path in folder.glob("*.png") if path.stem.isdigit()), key=lambda path: int(path.stem)
    )
    previews = []
    for path in reversed(paths[-MOST_PREVIEWS:]):
        image = cv2.imread(str(path))
        if image is None:
            continue
        factor = PREVIEW_PX / image.shape[1]
        if factor < 1:
            image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        done, content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, PREVIEW_QUALITY])
        if done:
            url = f"data:image/jpeg;base64,{base64.b64encode(content.tobytes()).decode()}"
            previews.append({"step": int(path.stem), "url": url})
    return previews
