"""Makes a network from outside the package a `Generator`, and checks everything that it returns."""

import io
import sys
import sysconfig
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ntire_sr.challenge.downscale import SCALES
from ntire_sr.challenge.image_checks import form_without_values
from ntire_sr.core.device import is_out_of_memory
from ntire_sr.core.errors import EarlierNameWarning, NtireSrError, require
from ntire_sr.core.seeding import global_seed
from ntire_sr.models.copies import copy_tensors
from ntire_sr.models.interfaces import TILE_PX

EXPECTED = "an object with a method sample(lr, generator) that returns SR images"
MOST_VALUE = 16.0  # far outside of [0, 1], where networks overshoot a little, and far below 255
MOST_TEXT = 400  # characters of an error of the network that are repeated


class StderrRedirect(io.TextIOBase):
    """Redirects prints to stderr, since stdout is for results, and keeps the first 400 characters."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text = (self.text + text)[:MOST_TEXT]
        return sys.stderr.write(text)


@contextmanager
def guard_user_code(label: str, when: str, redirect: StderrRedirect, hint: str = "") -> Iterator[None]:
    """Run code from outside the package: redirect its prints, and turn its exceptions into one NtireSrError.

    The error names the network and the line in its code. Out-of-memory errors are passed on unchanged, since smaller
    tiles may help.
    """
    try:
        with redirect_stdout(redirect):
            yield
    except NtireSrError:
        raise
    except (Exception, SystemExit) as error:
        if is_out_of_memory(error):
            raise
        message = " ".join(str(error).split())
        message = f"{message[:MOST_TEXT]}..." if len(message) > MOST_TEXT else message
        raise NtireSrError(
            f"{label} raised {type(error).__name__} {when}: {message}{_place(error)}",
            f"{hint}correct it there; `ntire-sr models check` tests a network before it draws",
        ) from error


def _place(error: BaseException) -> str:
    """Name the innermost line of a traceback that is neither this package's nor an installed package's."""
    installed = [sysconfig.get_path(kind) for kind in ("purelib", "platlib", "stdlib")]
    ours = [str(Path(__file__).parent), str(Path(sys.modules["ntire_sr"].__path__[0]))]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith((*installed, *ours, "<")):
            return f" ({Path(frame.filename).name}, line {frame.lineno}, in {frame.name})"
    return ""


def adapt(
    network: Any, label: str, scale: int, device: torch.device, redirect: StderrRedirect
) -> "ModelAdapter":
    """Wrap a network from outside the package as a generator, which leaves it as it is.

    Raises:
        NtireSrError: it is not a network, or has an attribute with an impossible value.
        UsageError: it does not support this scale.
    """
    deterministic = check_network(network, label, scale)
    adapter = ModelAdapter(network, label, scale, device, redirect)
    if adapter.sample_receptive_field is not None and not deterministic and not adapter.has_latents:
        raise NtireSrError(
            f"{label} states sample_receptive_field = {adapter.sample_receptive_field} and draws its noise in sample: "
            "noise of one tile would not fit that of the next",
            "a method latents(lr, generator) that draws the noise of the whole image, deterministic = True, or no "
            "sample_receptive_field",
        )
    return adapter


def check_network(network: Any, label: str, scale: int) -> bool:
    """Check that an object is a network which draws at this scale; returns whether it is deterministic.

    Raises:
        NtireSrError: it is not a network, or has an attribute with an impossible value.
        UsageError: it does not support this scale.
    """
    if isinstance(network, type) or method_of(network, "sample") is None:
        returned = f"the class {network.__name__}" if isinstance(network, type) else describe_value(network)
        hint = (
            "" if not isinstance(network, nn.Module) else ": def sample(self, lr, generator): return self(lr)"
        )
        raise NtireSrError(f"{label} returned {returned}, not {EXPECTED}", f"return {EXPECTED}{hint}")
    scales = getattr(network, "scales", SCALES)
    if not isinstance(scales, tuple | list | set | frozenset) or not set(scales) <= set(SCALES):
        raise NtireSrError(f"{label} states scales = {scales!r}", "scales = (4,), (8,) or (4, 8)")
    require(
        scale in scales, f"{label} draws scale {min(scales, default='none')}, not {scale}", "--scale with its own scale"
    )  # fmt: skip
    deterministic = getattr(network, "deterministic", False)
    if not isinstance(deterministic, bool):
        raise NtireSrError(f"{label} states deterministic = {deterministic!r}", "deterministic = True or False")
    return deterministic


def describe_value(value: Any) -> str:
    """Describe a value for an error message.

    >>> describe_value(torch.zeros(1, 3, 8, 8)), describe_value(None), describe_value("text")
    ('a torch.float32 tensor of shape (1, 3, 8, 8)', 'None', 'a str')
    """
    if isinstance(value, Tensor):
        form = form_without_values(value)
        return f"a {form and form + ' '}{value.dtype} tensor of shape {tuple(value.shape)}"
    return "None" if value is None else f"a {type(value).__name__}"


class ModelAdapter:
    """A network from outside the package as a `Generator`, for one image at a time.

    The network draws with `sample(lr, generator)`. If it has a method `trunk(lr)`, the result is computed once per
    image and becomes the first argument. If it has a method `latents(lr, generator)`, the result replaces the random
    generator. So `sample(trunk, lr, latents)` is the interface of the package's own generators. A network that states
    no receptive field is never tiled.

    Args:
        network: what `build` returned.
        label: the network's name in errors.
        scale: 4 or 8.
        device: where it computes; its random generators are on this device.
        redirect: takes what it prints.

    Raises:
        NtireSrError: a receptive field is not a whole number of pixels.
    """

    tile_px = TILE_PX

    def __init__(self, network: Any, label: str, scale: int, device: torch.device, redirect: StderrRedirect):
        self.label, self.scale, self.printed = label, scale, redirect
        self.deterministic: bool = getattr(network, "deterministic", False)
        self.stated_scales: tuple[int, ...] = tuple(getattr(network, "scales", ()))
        self.has_trunk, self.has_latents = (
            method_of(network, name) is not None for name in ("trunk", "latents")
        )
        trunk_receptive_field = _receptive_field(network, label, "trunk")
        self.trunk_receptive_field = trunk_receptive_field if self.has_trunk else None
        self.sample_receptive_field = _receptive_field(network, label, "sample")
        self.parameter_count = _count_parameters(network)
        self._network, self._device = network, device

    @property
    def tiled(self) -> bool:
        """Whether the trunk or the samples can be computed in tiles."""
        return self.sample_receptive_field is not None or self.trunk_receptive_field is not None

    def trunk(self, lr: Tensor) -> Any:
        """The result of the network's `trunk`; None if it has no such method."""
        if not self.has_trunk:
            return None
        maps = self._call(0, "trunk", lr.clone())
        if self.trunk_receptive_field is not None and not isinstance(maps, Tensor):
            raise self._wrong_result(
                "trunk", describe_value(maps), "one tensor, as trunk_receptive_field requires"
            )
        if self.tiled:
            self._check_maps("trunk", maps, lr)
        return copy_tensors(maps)

    def latents(self, lr: Tensor, generators: Sequence[torch.Generator]) -> Any:
        """The result of the network's `latents`; without this method a random generator, or None if deterministic."""
        seed = generators[0].initial_seed()
        generator = torch.Generator(self._device).manual_seed(seed)
        if self.has_latents:
            latents = self._call(seed, "latents", lr.clone(), generator)
            if self.sample_receptive_field is not None:
                self._check_maps("latents", latents, lr)
            return copy_tensors(latents)
        return None if self.deterministic else generator

    def sample(self, trunk: Any, lr: Tensor, latents: Any) -> Tensor:
        """An SR image, (1, 3, scale * h, scale * w) float32, checked."""
        if latents is None and not self.has_latents:
            latents = torch.Generator(self._device).manual_seed(0)
        seed = latents.initial_seed() if isinstance(latents, torch.Generator) else 0
        # networks often change their input in place; the next sample or tile needs it unchanged
        arguments = [copy_tensors(value) for value in (*([trunk] if self.has_trunk else []), lr, latents)]
        sr = self._call(seed, "sample", *arguments)
        shape = (1, 3, lr.shape[2] * self.scale, lr.shape[3] * self.scale)
        if (
            not isinstance(sr, Tensor)
            or tuple(sr.shape) != shape
            or not sr.is_floating_point()
            or form_without_values(sr)
        ):
            raise self._wrong_result("sample", describe_value(sr), f"a floating-point tensor of shape {shape}")
        if not bool(torch.isfinite(sr).all()):
            raise self._wrong_result("sample", "values that are NaN or infinite", "values about in [0, 1]")
        if (most := float(sr.abs().max())) > MOST_VALUE:
            raise self._wrong_result("sample", f"values of up to {most:.4g}", "values about in [0, 1]")
        # a copy: the network may draw the next sample into the same tensor
        return sr.detach().to(lr.device, torch.float32, copy=True)

    def _call(self, seed: int, name: str, *arguments: Any) -> Any:
        method = method_of(self._network, name)
        assert method is not None
        # no inference mode: a network may compute gradients while it samples
        with (
            guard_user_code(self.label, f"in {name}", self.printed),
            global_seed(seed, self._device),
            evaluation_mode(self._network),
            torch.no_grad(),
        ):
            return method(*arguments)

    def _check_maps(self, name: str, maps: Any, lr: Tensor) -> None:
        """Refuse what `tiles.cut` cannot cut: only maps of the LR image, in lists and tuples, can be cut."""
        if isinstance(maps, list | tuple):
            for part in maps:
                self._check_maps(name, part, lr)
            return
        height, width = lr.shape[2:]
        shape = tuple(maps.shape) if isinstance(maps, Tensor) and not form_without_values(maps) else ()
        factor = shape[2] // height if len(shape) == 4 else 0
        if maps is not None and (not factor or shape[2:] != (factor * height, factor * width)):
            expected = f"(1, C, k * {height}, k * {width}) in lists or tuples, which can be cut into tiles"
            raise self._wrong_result(name, describe_value(maps), expected)

    def _wrong_result(self, name: str, returned: str, expected: str) -> NtireSrError:
        return NtireSrError(
            f"{self.label}: {name} returned {returned}, not {expected}",
            f"correct {name}; its LR images are in [0, 1]",
        )


@contextmanager
def evaluation_mode(network: Any) -> Iterator[None]:
    """A context in which a torch module is in evaluation mode; afterwards its parts have their modes again."""
    modules = network.modules() if isinstance(network, nn.Module) else ()
    training = [module for module in modules if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def method_of(network: Any, name: str) -> Callable[..., Any] | None:
    """A method of a network; a layer of this name does not count."""
    method = getattr(network, name, None)
    return method if callable(method) and not isinstance(method, nn.Module) else None


def _receptive_field(network: Any, label: str, part: str) -> int | None:
    """The receptive-field radius that a network states for its trunk or sample, also under its earlier name."""
    name, earlier = f"{part}_receptive_field", f"{part}_reach"
    if not hasattr(network, name) and hasattr(network, earlier):
        warnings.warn(
            f"{label}: the attribute {earlier} is deprecated; rename it to {name}",
            EarlierNameWarning,
            stacklevel=2,
        )
        name = earlier
    radius = getattr(network, name, None)
    if radius is not None and (isinstance(radius, bool) or not isinstance(radius, int) or radius < 0):
        raise NtireSrError(f"{label} states {name} = {radius!r}", "a number of LR pixels, or None for unknown")
    return radius


def _count_parameters(network: Any) -> int | None:
    """Count a network's parameters, from its method `parameters` or the modules among its attributes; None: none found."""
    if callable(getattr(network, "parameters", None)):
        parameters = list(network.parameters())
    else:
        modules = [value for value in getattr(network, "__dict__", {}).values() if isinstance(value, nn.Module)]
        parameters = [parameter for module in modules for parameter in module.parameters()]
    sizes = {id(parameter): parameter.numel() for parameter in parameters if isinstance(parameter, Tensor)}
    return sum(sizes.values()) or None
