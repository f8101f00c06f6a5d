"""Looks at photographs that are not trained on: figures, previews, and the words for what goes wrong."""

import json
import math
import re

import numpy as np
import pytest
import torch
from conftest import TINIEST

from ntire_sr.challenge.pixels import to_tensor
from ntire_sr.core.errors import UsageError
from ntire_sr.core.progress import SILENT
from ntire_sr.core.run_folder import RunFolder
from ntire_sr.data.patches import PatchDataset
from ntire_sr.models.bicubic import Bicubic
from ntire_sr.samples.image_files import read_image, write_png
from ntire_sr.training import validation as module
from ntire_sr.training.logger import RunLogger
from ntire_sr.training.loop import train
from ntire_sr.training.monitor import SETTLED, LossMonitor
from ntire_sr.training.run_config import make_run_config, resume_run_config
from ntire_sr.training.validation import SIDE, Validator, open_validator

pytestmark = pytest.mark.numerical

CPU = torch.device("cpu")


class Noisy(Bicubic):
    """Bicubic enlargement and noise of one strength: every figure can be foretold."""

    def latents(self, lr, random):
        height, width = lr.shape[2] * self.scale, lr.shape[3] * self.scale
        return torch.cat([torch.randn(1, 3, height, width, generator=generator) for generator in random])

    def sample(self, trunk, lr, latents):
        return trunk + 0.05 * latents


def crop(photograph: np.ndarray) -> torch.Tensor:
    return to_tensor(photograph)


def test_bicubic_validation_has_no_spread_and_is_nearly_consistent(photograph):
    figures = Validator([crop(photograph)], "", 4, CPU).run(Bicubic(4)).figures
    assert figures["val_s_4_mse"] == 0 and figures["val_r_pixels"] == 0
    assert 25 < figures["val_lr_psnr_network"] < 45
    assert figures["val_lr_psnr_unrounded"] > 100
    assert figures["val_lr_psnr_worst"] >= 50
    assert figures["val_s_4"] == 0


def test_validation_measures_noise_reproducibly(photograph):
    made = Validator([crop(photograph)], "", 4, CPU)
    measured, again = made.run(Noisy(4)), made.run(Noisy(4))
    assert measured.figures == again.figures and np.array_equal(measured.preview, again.preview)
    assert measured.figures["val_r_pixels"] > 0.3 and measured.figures["val_s_4_mse"] > 3


def test_validation_measures_lpips_and_its_diversity(photograph):
    figures = Validator([crop(photograph)], "", 4, CPU).run(Noisy(4)).figures
    assert 0.05 < figures["val_lpips"] < 0.8
    assert 0 < figures["val_s_4"] < 60
    assert 0 < figures["val_r"] < 3


def test_a_preview_shows_lr_two_samples_their_deviation_and_hr(photograph):
    hr = crop(photograph)
    preview = Validator([hr, hr], "", 4, CPU).run(Noisy(4)).preview
    height, width = photograph.shape[:2]
    assert preview.shape == (2 * SIDE, 5 * SIDE, 3)
    columns = [preview[:height, index * SIDE : index * SIDE + width] for index in range(5)]
    assert np.array_equal(columns[4], photograph)
    assert np.array_equal(columns[0][::4, ::4].repeat(4, 0).repeat(4, 1), columns[0])
    assert not np.array_equal(columns[1], columns[2])
    assert 10 < columns[3].mean() < 200
    # the colours of samples are those of the photograph
    assert abs(columns[1].mean() - photograph.mean()) < 2


def folder_of(tmp_path, count: int, photograph: np.ndarray):
    for number in range(count):
        image = photograph.copy()
        image[0, 0] = number
        write_png(tmp_path / "hr" / f"{number:03d}.png", image)
    return tmp_path / "hr"


def test_validation_images_are_held_out_from_training(tmp_path, photograph):
    folder = folder_of(tmp_path, 16, photograph)
    photographs = PatchDataset(folder, 32, 4, leave_out=2)
    assert photographs.left_out == [4, 12] and len(photographs.paths) == 14
    drawn = {place.image for step in range(40) for place in photographs.places(8, 0, step)}
    assert drawn == set(range(16)) - {4, 12}
    made = open_validator("auto", photographs, 4, CPU)
    assert "2 photographs that are left out" in made.description and len(made.hr) == 2
    few = PatchDataset(folder, 32, 4, leave_out=3)
    assert not few.left_out and len(few.paths) == 16
    assert "embedded in scikit-image" in open_validator("auto", few, 4, CPU).description


def test_validation_folder_is_used_and_an_invalid_one_refused(tmp_path, photograph):
    photographs = PatchDataset(folder_of(tmp_path, 9, photograph), 32, 4)
    assert len(open_validator(str(tmp_path / "hr"), photographs, 4, CPU).hr) == module.IMAGES
    assert open_validator(None, photographs, 4, CPU) is None
    write_png(tmp_path / "small" / "a.png", photograph[:20, :20].copy())
    with pytest.raises(UsageError, match="has 32 x 32 pixels"):
        open_validator(str(tmp_path / "small"), photographs, 4, CPU)
    with pytest.raises(UsageError, match="does not exist"):
        open_validator(str(tmp_path / "absent"), photographs, 4, CPU)


def test_resumed_run_writes_the_same_previews_and_figures(tmp_path, photograph):
    folder = tmp_path / "val"
    write_png(folder / "a.png", photograph)
    values = {**TINIEST, "steps": 5, "validation": str(folder), "validate_every": 2, "checkpoint_every": 3}
    straight, parts = RunFolder(tmp_path / "straight"), RunFolder(tmp_path / "parts")
    train(make_run_config(values), straight)
    train(make_run_config({**values, "steps": 5}), parts)
    # as if it had been killed behind step 4, whose preview is newer than the last whole checkpoint
    (parts.checkpoints / "step_000000005.pt").unlink()
    (parts.previews / "000000005.png").unlink()
    train(resume_run_config(parts, {}), parts, resume=True)
    for run in (straight, parts):
        assert sorted(path.name for path in run.previews.iterdir()) == [f"{n:09d}.png" for n in (2, 4, 5)]
        looks = [line for line in lines(run) if "val_r_pixels" in line]
        assert [line["step"] for line in looks] == [2, 4, 5]
    for name in ("000000004.png", "000000005.png"):
        assert np.array_equal(read_image(straight.previews / name), read_image(parts.previews / name))


def lines(run: RunFolder) -> list[dict]:
    return [json.loads(line) for line in run.log.read_text().splitlines()]


def test_monitor_warns_once_and_again_after_recovery():
    monitor = LossMonitor()
    said = [text for _ in range(3 * SETTLED) for text in monitor.update({"r_features": 0.1})]
    assert len(said) == 1 and "the noise is being ignored" in said[0] and "0.10" in said[0]
    assert not [text for _ in range(400) for text in monitor.update({"r_features": 0.9})]
    assert len([text for _ in range(800) for text in monitor.update({"r_features": 0.05})]) == 1
    for right, word in ((0.5, "guessing"), (1.0, "won")):
        monitor = LossMonitor()
        said = [text for _ in range(SETTLED) for text in monitor.update({"discriminator_accuracy": right})]
        assert len(said) == 1 and word in said[0]
    monitor = LossMonitor()
    healthy = {"r_features": 0.8, "discriminator_accuracy": 0.75, "loss": 1.0}
    assert not [text for _ in range(2 * SETTLED) for text in monitor.update(healthy)]
    assert not [text for _ in range(SETTLED - 1) for text in LossMonitor().update({"r_features": 0.0})]


def test_monitor_accepts_nan_and_resumes_its_state():
    monitor = LossMonitor()
    assert not [text for _ in range(2 * SETTLED) for text in monitor.update({"r_features": math.nan})]
    assert not [text for _ in range(SETTLED - 1) for text in monitor.update({"r_features": 0.1})]
    resumed = LossMonitor()
    resumed.load_state_dict(json.loads(json.dumps(monitor.state_dict())))
    assert len(resumed.update({"r_features": 0.1})) == len(monitor.update({"r_features": 0.1})) == 1
    assert not resumed.update({"r_features": 0.1})


def test_monitor_warns_of_rollbacks_and_of_many_skipped_steps():
    monitor = LossMonitor()
    texts = []
    for step in range(400):
        texts += monitor.update({"skipped": float(step // 4), "rollbacks": float(step >= 7)})
    assert len(texts) == 2 and "rolled back to the EMA" in texts[0]
    assert re.match(r"2\d% of the last steps were skipped", texts[1])


def test_warning_is_in_the_log_of_the_run(tmp_path):
    run = RunFolder(tmp_path)
    RunLogger(run, SILENT, tensorboard=False, step=0).log_warning(7, "something")
    assert lines(run) == [{"step": 7, "remark": "something"}]


def test_tensorboard_gets_figures_and_missing_package_is_explained(tmp_path, photograph, monkeypatch):
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    write_png(tmp_path / "val" / "a.png", photograph)
    run = RunFolder(tmp_path / "run")
    values = {**TINIEST, "validation": str(tmp_path / "val"), "tensorboard": "true", "validate_every": 2}
    train(make_run_config(values), run)
    board = EventAccumulator(str(run.tensorboard))
    board.Reload()
    assert [event.step for event in board.Scalars("loss")] == [1, 2]
    assert [event.step for event in board.Images("preview")] == [2]
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(UsageError, match="needs TensorBoard"):
        train(make_run_config(values), RunFolder(tmp_path / "other"))
