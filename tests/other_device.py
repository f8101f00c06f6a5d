"""Train, draw and score on a device that is not the CPU, on machines without a GPU.

    python tests/other_device.py    # prints, as JSON, the error of each part by its name; "" for none

The tensors of this device are fake ones of torch: they have a shape and a type, and no values. Operations on tensors
of two devices, and arrays made of tensors that are not on the CPU, fail as they do with CUDA. So a constant that was
left on the CPU is found here; what a GPU computes is not. This is a program, because torch keeps such a device until
its process ends.
"""

import json
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from batches import batch_of
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils import backend_registration as backends

from ntire_sr.challenge.pixels import to_array, to_unit
from ntire_sr.core.distributed import ProcessGroup
from ntire_sr.core.seeding import make_generator
from ntire_sr.data.patches import PatchDataset
from ntire_sr.evaluation.metrics.lpips_network import Lpips
from ntire_sr.evaluation.metrics.niqe import block_features
from ntire_sr.evaluation.scoring.scorer import Scorer, Settings
from ntire_sr.models.loading import LoadedModel
from ntire_sr.models.registry import model_spec
from ntire_sr.models.rrdb import expected_shapes
from ntire_sr.sampling.sampler import Sampler
from ntire_sr.sampling.write_samples import project_and_round
from ntire_sr.training.config import TrainConfig
from ntire_sr.training.rrdb_init import PretrainedDecoder
from ntire_sr.training.trainers.srgan import SrganSettings, SrganTrainer
from ntire_sr.training.trainers.stochastic import (
    PretrainedRegression,
    StochasticSettings,
    StochasticTrainer,
)
from ntire_sr.training.validation import Validator


class Module(backends._DummyBackendModule):
    """What torch asks of a device."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.float32, torch.bfloat16]


backends._setup_privateuseone_for_python_backend("other", Module())
CPU, OTHER = torch.device("cpu"), torch.device("other", 0)
SMALL = {"channels": 4, "discriminator_channels": 4, "features": "filters", "adversarial_start": 0.0}
SRGAN = SrganSettings(**SMALL, blocks=1)
STOCHASTIC = StochasticSettings(
    **SMALL, growth=4, blocks=1, fine_channels=4, latent_channels=2, warm_up=0.0, precision="float32"
)


def images(count: int, side: int) -> Tensor:
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, device=OTHER)


def train(make: Callable[..., Any], settings: Any) -> None:
    """Two steps, and the state that a checkpoint holds."""
    trainer = make(TrainConfig(steps=4, patch=32), settings, OTHER, ProcessGroup())
    for step in range(2):
        trainer.step(
            to_unit(images(2, 8)), to_unit(images(2, 32)), [make_generator(step, 0), make_generator(step, 1)]
        )
    assert {value.device for value in trainer.weights().values()} == {CPU}
    trainer.load_state_dict(trainer.state_dict())


def train_on_trunk() -> None:
    """A step with a frozen trunk, whose features come from the cache on the CPU."""
    settings = replace(STOCHASTIC, rrdb=True, groups=1, channels=64, trunk_frozen=True, r1=1.0)
    trainer = StochasticTrainer(TrainConfig(steps=4, patch=32), settings, OTHER, ProcessGroup())
    frozen = trainer.frozen_features()
    assert frozen is not None
    features = frozen.compute(to_unit(images(2, 8)).cpu())
    assert features.device == OTHER
    trainer.step(
        to_unit(images(2, 8)), to_unit(images(2, 32)), [make_generator(0), make_generator(1)], features
    )


class TwoProcesses(ProcessGroup):
    """Another process with the same tensors, which must come from the CPU: each process has a GPU of its own."""

    def all_gather(self, value: Any) -> list[Any]:
        assert value.device == CPU
        return [value, value]


def fit_to_parent() -> None:
    settings = replace(STOCHASTIC, rrdb=True, groups=1, channels=64)
    trainer = StochasticTrainer(TrainConfig(steps=4, patch=32), settings, OTHER, ProcessGroup())
    trainer.processes = TwoProcesses()
    tensors = {name: torch.rand(shape) for name, shape in expected_shapes(1).items()}
    decoder = PretrainedDecoder(tensors).to(OTHER)
    trainer.regression = PretrainedRegression(decoder, trainer.phi, settings.projection)
    trainer._fit_to_pretrained(torch.rand(2, 64, 8, 8, device=OTHER))


def crops() -> None:
    """A batch of crops from the CPU, and one from images on the device."""
    patches = PatchDataset(None, 32, 4)
    for _ in range(2):
        batch = batch_of(patches, 2, 0, 0, OTHER)
        assert (batch.lr.device, batch.hr.device) == (OTHER, OTHER)
        assert (batch.lr.shape, batch.hr.shape) == ((2, 3, 8, 8), (2, 3, 32, 32))
        assert patches.keep_on(OTHER)


def validate() -> None:
    generator = model_spec("stochastic").build(4, STOCHASTIC).to(OTHER).eval()
    with pytest.MonkeyPatch.context() as patch:  # files cannot be read to a fake device
        patch.setattr("ntire_sr.training.validation.load_lpips", lambda device: random_lpips())
        Validator([images(1, 64)], "an image", 4, OTHER).run(generator)


def random_lpips() -> Lpips:
    """LPIPS with random weights, on the fake device."""
    convolutions = ((0, 64, 3, 11), (3, 192, 64, 5), (6, 384, 192, 3), (8, 256, 384, 3), (10, 256, 256, 3))
    trunk = {
        f"features.{index}.weight": torch.rand(out, into, side, side) for index, out, into, side in convolutions
    }
    trunk |= {f"features.{index}.bias": torch.rand(out) for index, out, _, _ in convolutions}
    return Lpips(trunk, [torch.rand(1, out, 1, 1) for _, out, _, _ in convolutions]).to(OTHER)


def draw(name: str, tile: int, half: bool) -> None:
    """A projected sample of one LR image, as an array."""
    model = model_spec(name)
    settings = {"srgan": SRGAN, "stochastic": STOCHASTIC}.get(name, model.architecture())
    loaded = LoadedModel(name, model.deterministic, model.build(4, settings).to(OTHER), 4, None, None, {}, {})
    lr, sampler = images(1, 24), Sampler(loaded, OTHER, half, tile)
    unit = to_unit(lr)
    sr = sampler.sample(unit, sampler.trunk(unit), 1)
    assert sr.device == OTHER and sr.dtype == torch.float32
    for projection in (True, False):
        assert to_array(project_and_round(sr, lr, 4, projection).image).shape == (96, 96, 3)


def score(realism: tuple[str, ...]) -> None:
    """All figures and maps of an image with three samples."""
    scorer = Scorer(Settings(4, lpips=False, realism=realism))
    scorer.device = OTHER
    scorer.lpips = random_lpips()
    samples = [images(1, 224).cpu() for _ in range(3)]
    result = scorer.measure_images(images(1, 224), samples, [0, 1, 2], 0, "0801.png")
    assert {value.device for value in result.tensors.values()} == {CPU}


def add_a_constant() -> None:
    """This must fail, and so must `make an array`; else the other parts could not."""
    images(1, 8) + torch.zeros(8, dtype=torch.uint8)


PARTS: dict[str, Callable[[], None]] = {
    "train srgan": partial(train, SrganTrainer, SRGAN),
    "train stochastic": partial(train, StochasticTrainer, STOCHASTIC),
    "train stochastic in bfloat16": partial(
        train, StochasticTrainer, replace(STOCHASTIC, precision="bfloat16")
    ),
    "train on a frozen trunk": train_on_trunk,
    "fit to a parent": fit_to_parent,
    "crops": crops,
    "validate": validate,
    "draw bicubic": partial(draw, "bicubic", 0, False),
    "draw srgan in tiles": partial(draw, "srgan", 16, False),
    "draw stochastic": partial(draw, "stochastic", 0, False),
    "draw stochastic in bfloat16": partial(draw, "stochastic", 16, True),
    "score": partial(score, ()),
    "features of niqe": lambda: block_features(images(1, 224)),
    "score log-spectral": partial(score, ("log-spectral",)),
    "score patch-frechet": partial(score, ("patch-frechet",)),
    "add a constant of the CPU": add_a_constant,
    "make an array": lambda: images(1, 8).numpy(),
}


def numpy_of(tensor: Tensor) -> np.ndarray:
    """Zeros in place of the values; as torch, of the CPU only."""
    if tensor.device != CPU:
        raise TypeError(f"can't convert a tensor on {tensor.device} to numpy; use Tensor.cpu() first")
    return np.zeros(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))


READ: dict[str, Callable[[Tensor], Any]] = {  # what Python reads from a tensor without values
    "numpy": numpy_of,
    "item": lambda tensor: 1.0 if tensor.is_floating_point() else 1,
    "tolist": lambda tensor: np.ones(tuple(tensor.shape)).tolist(),
    "__bool__": lambda tensor: True,
    "__float__": lambda tensor: 1.0,
    "__int__": lambda tensor: 1,
}


def read_by(name: str) -> Callable[..., Any]:
    real = getattr(torch.Tensor, name)
    return lambda tensor, *more: READ[name](tensor) if isinstance(tensor, FakeTensor) else real(tensor, *more)


def indexed(real: Callable[[Tensor, Any], Tensor], tensor: Tensor, index: Any) -> Tensor:
    """`Tensor.__getitem__`; a mask, whose values are not known, selects everything."""
    if isinstance(index, FakeTensor) and index.dtype == torch.bool:
        if index.device not in (CPU, tensor.device):
            raise RuntimeError(f"a mask on {index.device} for a tensor on {tensor.device}")
        return tensor.flatten(0, index.dim() - 1)
    return real(tensor, index)


def new_tensor(make: Callable[..., Tensor], values: Any, **options: Any) -> Tensor:
    """`torch.tensor`, which passes fake tensors by."""
    device = options.pop("device", CPU)
    return make(values, **options).to(device)


def module_to(network: nn.Module, *place: Any, memory_format: torch.memory_format | None = None) -> nn.Module:
    """`nn.Module.to`, which cannot exchange a real parameter for a fake one."""

    def moved(tensor: Tensor) -> Tensor:
        tensor = tensor.detach().to(*place) if place else tensor.detach()
        return tensor.contiguous(memory_format=memory_format) if memory_format and tensor.dim() == 4 else tensor

    for part in network.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                part._parameters[name] = nn.Parameter(moved(parameter), parameter.requires_grad)
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = moved(buffer)
    return network


def main() -> None:
    library = torch.library.Library("_", "IMPL")
    library.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")  # autocast changes no type here
    errors = {}
    with pytest.MonkeyPatch.context() as patch:
        for name in READ:
            patch.setattr(torch.Tensor, name, read_by(name))
        patch.setattr(nn.Module, "to", module_to)
        real = torch.Tensor.__getitem__
        patch.setattr(torch.Tensor, "__getitem__", lambda tensor, index: indexed(real, tensor, index))
        patch.setattr(torch, "tensor", partial(new_tensor, torch.tensor))
        with FakeTensorMode(allow_non_fake_inputs=True):
            for name, part in PARTS.items():
                try:
                    part()
                    errors[name] = ""
                except Exception:
                    errors[name] = traceback.format_exc()
    print(json.dumps(errors))


if __name__ == "__main__":
    main()
