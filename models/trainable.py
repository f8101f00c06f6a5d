"""Makes a torch module from outside the package a `Generator` for batches, whose weights learn."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ntire_sr.core.errors import NtireSrError
from ntire_sr.models.adapter import StderrRedirect, describe_value, guard_user_code, method_of
from ntire_sr.models.maps import join_maps, map_tensors


class TrainableNetwork(nn.Module):
    """A torch module from outside the package, see `adapter.ModelAdapter`, that draws batches of images.

    `trunk` and `sample` get the whole batch. `latents` is called once per image, and its results are joined, so it may
    be the function that draws. Without `latents` each image is drawn alone, with its own random generator. The tensors
    of its state have the module's own names.

    Args:
        network: the module.
        label: its name in errors.
        scale: 4 or 8.
        redirect: takes what it prints.
    """

    def __init__(self, network: nn.Module, label: str, scale: int, redirect: StderrRedirect):
        super().__init__()
        self.network, self.label, self.scale, self._redirect = network, label, scale, redirect

    def trunk(self, lr: Tensor) -> Any:
        """The result of the module's `trunk` for images (N, 3, h, w); None if it has no such method."""
        if method_of(self.network, "trunk") is None:
            return None
        maps = self._call("trunk", lr)
        map_tensors(lambda part: self._check_batch("trunk", part, len(lr)), maps)
        return maps

    def latents(self, lr: Tensor, generators: Sequence[torch.Generator]) -> Any:
        """The joined results of the module's `latents`; without this method the random generators."""
        # a random generator on the device of the images, as in `ModelAdapter`: those of a validation are on the CPU
        generators = [
            generator
            if generator.device.type == lr.device.type
            else torch.Generator(lr.device).manual_seed(generator.initial_seed())
            for generator in generators
        ]
        if method_of(self.network, "latents") is None:
            return generators
        drawn = [self._call("latents", lr[n : n + 1], generator) for n, generator in enumerate(generators)]
        map_tensors(lambda part: self._check_batch("latents", part, 1), drawn)
        return join_maps(drawn)

    def sample(self, trunk: Any, lr: Tensor, latents: Any) -> Tensor:
        """SR images, (N, 3, scale * h, scale * w)."""
        if method_of(self.network, "latents") is not None:
            return self._sample(trunk, lr, latents)

        def image(n: int) -> Tensor:
            return self._sample(map_tensors(lambda part: part[n : n + 1], trunk), lr[n : n + 1], latents[n])

        return torch.cat([image(n) for n in range(len(lr))])

    def _sample(self, trunk: Any, lr: Tensor, latents: Any) -> Tensor:
        sr: Tensor = self._call("sample", *([] if trunk is None else [trunk]), lr, latents)
        shape = (len(lr), 3, lr.shape[2] * self.scale, lr.shape[3] * self.scale)
        if not isinstance(sr, Tensor) or tuple(sr.shape) != shape or not sr.is_floating_point():
            raise self._wrong_result("sample", sr, f"a floating-point tensor of shape {shape}")
        return sr

    def _call(self, name: str, *arguments: Any) -> Any:
        with guard_user_code(self.label, f"in {name}", self._redirect):
            return getattr(self.network, name)(*arguments)

    def _check_batch(self, name: str, part: Tensor, count: int) -> None:
        if part.ndim == 0 or len(part) != count:
            raise self._wrong_result(name, part, f"one of {count} along its first axis")

    def _wrong_result(self, name: str, value: Any, expected: str) -> NtireSrError:
        batch = "" if name == "latents" else "; train calls it with whole batches of images"
        return NtireSrError(
            f"{self.label}: {name} returned {describe_value(value)}, not {expected}", f"correct {name}{batch}"
        )

    def state_dict(self, *arguments: Any, **options: Any) -> Any:
        """The module's own state."""
        return self.network.state_dict(*arguments, **options)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Take over the module's own state.

        Raises:
            NtireSrError: tensors are missing or do not fit, and `strict` is true.
        """
        if strict:
            check_tensors(self.network, state_dict, self.label)
        return self.network.load_state_dict(state_dict, strict, assign)


def check_tensors(network: nn.Module, tensors: Mapping[str, Tensor], label: str) -> None:
    """Check that tensors are those of a network, by names and shapes.

    Raises:
        NtireSrError: they are not; the first difference is named.
    """
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    own = {
        name: tuple(value.shape) for name, value in network.state_dict().items() if isinstance(value, Tensor)
    }
    for name in sorted(own.keys() | shapes.keys()):
        if own.get(name) != shapes.get(name):
            raise NtireSrError(
                f"{label} is not the network of this training: its tensor {name} is {own.get(name, 'missing')}, "
                f"that of the training is {shapes.get(name, 'missing')}",
                "the code that was trained, or another training",
            )
