"""Training of networks from outside the package with energy scores, see docs/own-network.md."""

import operator
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, make_dataclass
from functools import partial, reduce
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ntire_sr.core.distributed import ProcessGroup
from ntire_sr.core.errors import NtireSrError, plural, require, shorten
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.core.seeding import global_seed, make_generator
from ntire_sr.core.settings import field_types, removed_fields, renamed_fields
from ntire_sr.models.adapter import ModelAdapter, check_network, describe_value
from ntire_sr.models.external import UserCode, import_code
from ntire_sr.models.trainable import TrainableNetwork
from ntire_sr.models.weights_files import read_weights, trained_model
from ntire_sr.training.config import TrainConfig
from ntire_sr.training.multi_sample import MultiSampleForward, draw_latents
from ntire_sr.training.trainers.energy import EnergyTrainer
from ntire_sr.training.trainers.energy_settings import EnergySettings
from ntire_sr.training.trainers.interface import TrainerSpec
from ntire_sr.training.trainers.stochastic_settings import PRESETS as STOCHASTIC_PRESETS

CHANGE = 0.05  # of a parameter, relative to its RMS, where it is tried whether samples depend on the noise
SETTING_TYPES = (str, int, float, bool)
OWN_NAMES = {*field_types(TrainConfig), *field_types(EnergySettings)}

# those of `stochastic`, without the sizes of its network; float32, as networks from outside draw
PRESETS: Mapping[str, Mapping[str, Any]] = {
    preset: {name: value for name, value in values.items() if name in OWN_NAMES} | {"precision": "float32"}
    for preset, values in STOCHASTIC_PRESETS.items()
    if preset != "pretrained"
}


def external_trainer(model: str) -> TrainerSpec:
    """The entry for a network from outside the package, whose code is run, but which is not yet built.

    Raises:
        UsageError: the file, module or function that `model` names does not exist.
        NtireSrError: the code raised an error, or its settings are none that `train` can set.
    """
    code = import_code(model)
    return TrainerSpec(
        model=code.name,
        architecture=type(code.settings),
        settings=settings_record(code),
        presets=PRESETS,
        trainer=partial(ExternalTrainer, code),
    )


def settings_record(code: UserCode) -> type:
    """The settings record of a training: those of the energy scores, and the network's.

    Raises:
        NtireSrError: a setting has a type that cannot be set by words, or the name of a setting of `train`.
    """
    records = (TrainConfig, EnergySettings)
    taken = OWN_NAMES | renamed_fields(*records).keys() | removed_fields(*records).keys()
    kinds = {name: _as_union(kind) for name, kind in field_types(type(code.settings)).items()}
    for name, kind in kinds.items():
        if name in taken:
            raise NtireSrError(
                f"{code.label}: its setting {name} has the name of a setting of train", "another name for it"
            )
        options = set(typing.get_args(kind)) - {types.NoneType} if isinstance(kind, types.UnionType) else {kind}
        if len(options) != 1 or not options <= set(SETTING_TYPES):
            raise NtireSrError(
                f"{code.label}: its setting {name} is declared as {kind}, which --set cannot give",
                "int, float, bool or str, or one of these or None",
            )

    def check(settings: Any) -> None:
        EnergySettings.__post_init__(settings)
        network_settings(code, settings)

    own = [
        (field.name, kinds[field.name], getattr(code.settings, field.name)) for field in fields(code.settings)
    ]
    return make_dataclass(
        "ExternalSettings", own, bases=(EnergySettings,), frozen=True, namespace={"__post_init__": check}
    )


def _as_union(kind: Any) -> Any:
    """`Optional[int]` and `Union[int, None]` as `int | None`; other types as they are."""
    return reduce(operator.or_, typing.get_args(kind)) if typing.get_origin(kind) is typing.Union else kind


def network_settings(code: UserCode, settings: Any) -> Any:
    """The network's part of the settings of a training, as its code declares it.

    Raises:
        NtireSrError: the code refuses a value.
    """
    names = field_types(type(code.settings))
    return code.make_settings({name: getattr(settings, name) for name in names})


class ExternalTrainer(EnergyTrainer):
    """`EnergyTrainer` for a network from outside the package.

    Args:
        code: builds the network.
        config: of the run.
        settings: of the record that `settings_record` makes.
        device: where to compute.
        processes: the processes that share each batch.
        progress: receives the progress of a download.

    Raises:
        NtireSrError: the network cannot be built or trained.
        UsageError: it does not draw at this scale, or is deterministic.
    """

    def __init__(
        self,
        code: UserCode,
        config: TrainConfig,
        settings: Any,
        device: torch.device,
        processes: ProcessGroup,
        progress: Progress = SILENT,
    ):
        self._code, self._scale = code, config.scale
        build = partial(build_trainable, code, config, device)
        network = build(settings).to(device)
        lr = torch.rand(2, 3, *[config.patch // config.scale] * 2, generator=make_generator(0)).to(device)
        without_gradient = try_gradient(network, lr)
        learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
        try_samples(code.adapt(network.network, config.scale, device), lr[:1], learning)
        code_sha256 = code.record(None).sha256
        processes.assert_same(code=code_sha256)
        super().__init__(config, settings, build, device, processes, progress)
        self.gan.generator.train()
        self.origin = {"code_sha256": code_sha256}
        if without_gradient:
            count = plural(len(without_gradient), "parameter")
            self.messages.append(f"{count} of {code.label} without a gradient: {shorten(without_gradient)}")

    def step(
        self,
        lr: Tensor,
        hr: Tensor,
        generators: list[torch.Generator],
        features: Tensor | None = None,
    ) -> dict[str, float]:
        """The step of `EnergyTrainer`; dropout and other parts that use global random generators are reproducible."""
        with global_seed(generators[0].initial_seed(), self.device):
            return super().step(lr, hr, generators, features)

    def read_initial(self, path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
        """As the interface says; a file that is not of `train` is read by the network's own code."""
        if trained_model(path) is not None:
            return read_weights(path)
        settings = network_settings(self._code, self.settings)
        network = self._code.build(self._scale, path, self.device, settings)
        return {"model": self._code.label, "facts": "{}"}, network.state_dict()

    def weights(self) -> dict[str, Tensor]:
        # copies, since a weights file holds no tensors that share memory
        return {name: value.clone() for name, value in super().weights().items()}


def build_trainable(
    code: UserCode, config: TrainConfig, device: torch.device, settings: Any
) -> TrainableNetwork:
    """Build the network of a training.

    Raises:
        NtireSrError: the code raised an error, or did not return a torch module with parameters that learn.
        UsageError: the network does not draw at this scale, or is deterministic.
    """
    network = code.build(config.scale, None, device, network_settings(code, settings), config.seed)
    deterministic = check_network(network, code.label, config.scale)
    if not isinstance(network, nn.Module):
        raise NtireSrError(
            f"{code.label} returned {describe_value(network)}, and train needs a torch.nn.Module",
            "a class Net(torch.nn.Module)",
        )
    require(
        not deterministic,
        f"{code.label} states deterministic = True, and train teaches networks to draw samples that differ",
        "noise in latents(lr, generator) that sample uses, and no deterministic = True",
    )
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise NtireSrError(
            f"{code.label} returned a module without parameters that learn",
            "layers as attributes of the module",
        )
    return TrainableNetwork(network, code.label, config.scale, code.redirect)


def try_gradient(network: TrainableNetwork, lr: Tensor) -> list[str]:
    """Draw two samples of each LR image and compute a gradient; returns names of parameters that get none.

    Args:
        network: a network that is not trained afterwards.
        lr: (N, 3, h, w).

    Raises:
        NtireSrError: the network raised an error, or its samples are of a wrong size or have no gradient.
    """
    generators = [make_generator(index, device=lr.device) for index in range(len(lr))]
    forward = MultiSampleForward(network.train(), 2, projection=False)
    with global_seed(0, lr.device):
        drawn, _ = forward(lr, draw_latents(network, lr, generators, 2))
    learning = {name: value for name, value in network.network.named_parameters() if value.requires_grad}
    gradients: tuple[Tensor | None, ...] = (None,) * len(learning)
    if drawn.requires_grad:
        gradients = torch.autograd.grad(drawn.square().mean(), list(learning.values()), allow_unused=True)
    without = [name for name, gradient in zip(learning, gradients, strict=True) if gradient is None]
    if len(without) == len(learning):
        raise NtireSrError(
            f"{network.label}: samples have no gradient at the network's parameters",
            "no torch.no_grad and no detach in trunk and sample",
        )
    return without


def try_samples(generator: ModelAdapter, lr: Tensor, learning: list[nn.Parameter]) -> None:
    """Draw samples as `generate` will, so that a network which cannot draw fails before its training.

    Samples that are equal are refused only if they stay equal after small changes of the parameters: noise whose
    strength starts at zero can learn.

    Args:
        generator: a network that is not trained afterwards.
        lr: (1, 3, h, w).
        learning: the network's parameters that learn, which may be changed here.

    Raises:
        NtireSrError: the network raised an error, returned something wrong, or its samples do not depend on the noise.
    """
    if samples_differ(generator, lr):
        return
    initial = [parameter.detach().clone() for parameter in learning]
    for number, sign in ((0, 1), (0, -1), (1, 1), (1, -1)):  # both signs: a strength may be clamped at zero
        noise_generator = make_generator(number)
        with torch.no_grad():
            for parameter, start in zip(learning, initial, strict=True):
                size = CHANGE * (start.abs().square().mean().sqrt() or 1)
                noise = torch.randn(start.shape, generator=noise_generator).to(start)
                parameter.copy_(start + sign * size * noise)
        try:
            if samples_differ(generator, lr):
                return
        except NtireSrError:  # the changed parameters give values out of range, which proves nothing
            return
    noise_source = "latents" if generator.has_latents else "sample"
    raise NtireSrError(
        f"{generator.label}: the network's samples do not depend on its noise: two samples of one LR image are equal",
        f"draw noise in {noise_source} with its generator, torch.randn(..., generator=generator), and use it in sample",
    )


def samples_differ(generator: ModelAdapter, lr: Tensor) -> bool:
    """Whether two samples of an LR image (1, 3, h, w), drawn with different seeds, differ."""
    trunk = generator.trunk(lr)
    first, second = (
        generator.sample(trunk, lr, generator.latents(lr, [make_generator(seed)])) for seed in (0, 1)
    )
    return not torch.equal(first, second)
