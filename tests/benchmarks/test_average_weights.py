"""Averaging weights, and their files as they come with the package."""

import sys
from pathlib import Path

import pytest
import torch

from ntire_sr.models.registry import MODELS
from ntire_sr.models.weights_files import read_weights, save_weights

ROOT = Path(__file__).parents[2]
SRGAN = MODELS["srgan"]
SIZES = SRGAN.architecture(channels=4, blocks=1, noise_channels=1)


def test_average_without_trunk_is_one_file_of_16_bit_weights(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import average_weights

    words = []
    for number, share in ((0, 0.25), (1, 0.75)):
        state = SRGAN.build(4, SIZES).state_dict()
        tensors = {name: torch.full(value.shape, float(number)) for name, value in state.items()}
        path = tmp_path / f"{number}.safetensors"
        save_weights(path, "srgan", 4, SIZES, tensors, {"step": 1})
        words.append(f"{path}={share}")
    out = tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["average_weights.py", *words, "--out", str(out)])
    average_weights.main()
    assert [path.name for path in out.iterdir()] == ["srgan_x4.safetensors"]
    _, averaged = read_weights(out / "srgan_x4.safetensors")
    assert averaged.keys() == tensors.keys()
    for value in averaged.values():
        # .25 * 0 + .75 * 1, which both precisions hold exactly
        assert value.dtype == torch.float16 and bool((value == 0.75).all())


def test_shares_that_do_not_sum_to_one_are_refused(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import average_weights

    monkeypatch.setattr(sys, "argv", ["average_weights.py", "a.safetensors=.5", "--out", str(tmp_path)])
    with pytest.raises(SystemExit):
        average_weights.main()
