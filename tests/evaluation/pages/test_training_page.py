"""The page of a training."""

import json

import cv2
import numpy as np

from ntire_sr.core.files import make_folder, write_json
from ntire_sr.core.run_folder import RunFolder
from ntire_sr.evaluation.pages.training_page import read_log, training_charts, write_training_page
from ntire_sr.training.loop import train
from ntire_sr.training.run_config import make_run_config

LINES = [
    {"step": 10, "loss": 0.5, "content": 0.4, "r_features": 0.2, "images_per_second": 8.0, "learning_rate": 2e-4},
    {"step": 20, "remark": "the discriminator has won <b>"},
    {"step": 20, "loss": 0.25, "content": 0.2, "r_features": 0.4, "images_per_second": 9.0, "learning_rate": 1e-4,
     "val_lpips": 0.3, "val_s_4": 12.0, "val_s_4_mse": 8.0},
]  # fmt: skip


def run_with(lines, folder) -> RunFolder:
    run = RunFolder(make_folder(folder))
    text = "".join(json.dumps(line) + "\n" for line in lines)
    run.log.write_text(text + '{"step": 30, "lo')  # cut off by a kill
    write_json(run.config, {"model": "srgan", "scale": 4, "steps": 40})
    return run


def test_charts_show_losses_r_validation_rate_and_speed(tmp_path):
    charts = {chart["label"]: chart for chart in training_charts(read_log(run_with(LINES, tmp_path).log))}
    assert list(charts) == [
        "Loss", "Term content", "Calibration r of the training's samples", "Validation LPIPS", "Validation S_4", "Learning rate", "Speed",
    ]  # fmt: skip
    assert [step["text"] for step in charts["Loss"]["steps"]] == ["step = 10: 0.5", "step = 20: 0.25"]
    assert charts["Validation S_4"]["steps"][0]["text"] == "step = 20: of LPIPS 12 % · of MSE 8 %"


def test_validations_of_a_short_run_all_have_a_point_and_a_tick():
    lines = [{"step": 3, "val_lpips": 0.228}, {"step": 6, "loss": 1.2, "val_lpips": 0.23}]
    charts = {chart["label"]: chart for chart in training_charts(lines)}
    validation = charts["Validation LPIPS"]
    assert [step["text"] for step in validation["steps"]] == ["step = 3: 0.228", "step = 6: 0.23"]
    places = [step["points"][0][1] for step in validation["steps"]]
    assert [(place, text) for place, text in validation["x_ticks"] if place in places] == [
        (places[0], "3"),
        (places[1], "6"),
    ]
    assert [text for _, text in charts["Loss"]["x_ticks"]] == ["6"]


def test_page_of_a_network_from_a_file_has_its_short_name(tmp_path):
    run = run_with(LINES, tmp_path / "run")
    write_json(run.config, {"model": "/home/me/nets/my_net.py:build", "scale": 4, "steps": 40})
    page = write_training_page(run).read_text(encoding="utf-8")
    assert "<h1>my_net.py:build x4: run</h1>" in page and "/home/me" not in page


def test_long_logs_are_averaged(tmp_path):
    lines = [{"step": step, "loss": float(step % 2)} for step in range(1, 801)]
    (chart,) = training_charts(lines)
    assert len(chart["steps"]) == 200 and chart["steps"][0]["text"] == "step = 4: 0.5"


def test_page_holds_warnings_and_previews_and_escapes_them(tmp_path, open_html):
    run = run_with(LINES, tmp_path / "run")
    make_folder(run.previews)
    cv2.imwrite(str(run.previews / "000000020.png"), np.full((40, 60, 3), 90, np.uint8))
    page = open_html(write_training_page(run).read_text(encoding="utf-8"))
    assert "srgan x4" in page.inner_text("h1") and "20 of 40 steps" in page.inner_text("header")
    assert "<b>" in page.inner_text(".notes") and page.locator(".preview img").count() == 1
    with page.expect_download() as download:
        page.locator(".chart .save").first.click()
    assert download.value.suggested_filename == "Loss.svg"
    svg = download.value.path().read_text()
    assert svg.startswith("<svg") and "polyline" in svg and "stroke: rgb" in svg
    assert 'viewBox="-14 0 354 190"' in svg  # with room for labels at the left


def test_training_writes_its_page_at_each_validation(tmp_path):
    settings = {
        "model": "srgan", "preset": "tiny", "channels": 4, "blocks": 1, "noise_channels": 1, "discriminator_channels": 4, "features": "filters",
        "batch": 1, "patch": 32, "steps": 2, "validate_every": 1, "log_every": 1, "device": "cpu", "cache": "none", "start_from": "none",
    }  # fmt: skip
    run, written = RunFolder(tmp_path / "run"), []
    train(
        make_run_config(settings),
        run,
        after_validation=lambda folder: written.append(write_training_page(folder)),
    )
    assert len(written) == 3 and "Learning rate" in run.training_page.read_text(encoding="utf-8")
