"""A network from outside the package behind the interface of generators, with everything checked that it returns."""

import io
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ntire_sr.challenge.downscale import SCALES
from ntire_sr.core.device import is_out_of_memory
from ntire_sr.core.errors import NtireSrError, require
from ntire_sr.core.seeding import global_seed

WANTED = "an object with a method sample(lr, generator) that returns SR images"
MOST_VALUE = 16.0  # far outside of [0, 1], where networks overshoot a little, and far below 255
MOST_TEXT = 400  # characters of an error of the network that are repeated


class StderrRedirect(io.TextIOBase):
    """A stream in place of standard output, which is for results: it passes on to standard error and remembers that."""

    def __init__(self) -> None:
        self.text = ""  # how it began

    def write(self, text: str) -> int:
        self.text = (self.text + text)[:MOST_TEXT]
        return sys.stderr.write(text)


@contextmanager
def guard_user_code(label: str, when: str, aside: StderrRedirect, hint: str = "") -> Iterator[None]:
    """A context for code from outside the package: what it prints goes to standard error, and what it raises becomes one
    error that names the network and its line. Running out of memory passes, since smaller tiles may help."""
    try:
        with redirect_stdout(aside):
            yield
    except NtireSrError:
        raise
    except (Exception, SystemExit) as error:
        if is_out_of_memory(error):
            raise
        said = " ".join(str(error).split())
        said = f"{said[:MOST_TEXT]}..." if len(said) > MOST_TEXT else said
        raise NtireSrError(
            f"{label} raised {type(error).__name__} {when}: {said}{_place(error)}",
            f"{hint}mend it there; `ntire-sr models check` tries a network before it draws",
        ) from error


def _place(error: BaseException) -> str:
    """The innermost line of an error that belongs to neither this package nor an installed one, in words."""
    installed = [sysconfig.get_path(kind) for kind in ("purelib", "platlib", "stdlib")]
    ours = [str(Path(__file__).parent), str(Path(sys.modules["ntire_sr"].__path__[0]))]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith((*installed, *ours, "<")):
            return f" ({Path(frame.filename).name}, line {frame.lineno}, in {frame.name})"
    return ""


def adapt(network: Any, label: str, scale: int, device: torch.device, aside: StderrRedirect) -> "ModelAdapter":
    """What a function `build` returned as a generator.

    Raises:
        NtireSrError: it is no network, or states something that cannot be.
        UsageError: it states that it does not draw this scale.
    """
    if isinstance(network, type) or _method(network, "sample") is None:
        found = f"the class {network.__name__}" if isinstance(network, type) else kind(network)
        hint = (
            "" if not isinstance(network, nn.Module) else ": def sample(self, lr, generator): return self(lr)"
        )
        raise NtireSrError(f"{label} returned {found}, not {WANTED}", f"return {WANTED}{hint}")
    scales = getattr(network, "scales", SCALES)
    if not isinstance(scales, tuple | list | set | frozenset) or not set(scales) <= set(SCALES):
        raise NtireSrError(f"{label} states scales = {scales!r}", "scales = (4,), (8,) or (4, 8)")
    require(
        scale in scales, f"{label} draws scale {min(scales, default='none')}, not {scale}", "--scale with its own scale"
    )  # fmt: skip
    deterministic = getattr(network, "deterministic", False)
    if not isinstance(deterministic, bool):
        raise NtireSrError(f"{label} states deterministic = {deterministic!r}", "deterministic = True or False")
    for name in ("trunk_reach", "sample_reach"):
        reach = getattr(network, name, None)
        if reach is not None and (isinstance(reach, bool) or not isinstance(reach, int) or reach < 0):
            raise NtireSrError(
                f"{label} states {name} = {reach!r}", "a number of LR pixels, or None for unknown"
            )
    if isinstance(network, nn.Module):
        network = network.to(device).eval().requires_grad_(False)
    adapted = ModelAdapter(network, label, scale, device, aside)
    if adapted.sample_reach is not None and not deterministic and not adapted.has_latents:
        raise NtireSrError(
            f"{label} states sample_reach = {adapted.sample_reach} and draws its noise in sample: noise of one tile "
            "would not fit that of the next",
            "a method latents(lr, generator) that draws the noise of the whole image, deterministic = True, or no "
            "sample_reach",
        )
    return adapted


def kind(value: Any) -> str:
    """What a value is, in words for an error.

    >>> kind(torch.zeros(1, 3, 8, 8)), kind(None), kind("text")
    ('a torch.float32 tensor of shape (1, 3, 8, 8)', 'None', 'a str')
    """
    if isinstance(value, Tensor):
        return f"a {value.dtype} tensor of shape {tuple(value.shape)}"
    return "None" if value is None else f"a {type(value).__name__}"


class ModelAdapter:
    """A network from outside as a `Generator`, for one image at a time.

    The network draws with `sample(lr, generator)`. What its method `trunk(lr)` returns, if it has one, is computed
    once per image and comes first, and what `latents(lr, generator)` returns comes in place of the generator:
    `sample(trunk, lr, latents)` is the interface of the package's own generators. Without stated reaches it is
    never tiled.

    Args:
        network: what `build` returned.
        label: its name in errors.
        scale: 4 or 8.
        device: where it computes; its random generators are of this device.
        aside: takes what it prints.
    """

    def __init__(self, network: Any, label: str, scale: int, device: torch.device, aside: StderrRedirect):
        self.label, self.scale, self.printed = label, scale, aside
        self.deterministic: bool = getattr(network, "deterministic", False)
        self.stated_scales: tuple[int, ...] = tuple(getattr(network, "scales", ()))
        self.has_trunk, self.has_latents = (_method(network, name) is not None for name in ("trunk", "latents"))
        self.trunk_reach: int | None = getattr(network, "trunk_reach", None) if self.has_trunk else None
        self.sample_reach: int | None = getattr(network, "sample_reach", None)
        self.parameter_count = _count(network)
        self._network, self._device = network, device

    @property
    def tiled(self) -> bool:
        """Whether anything of it can be computed in tiles."""
        return self.sample_reach is not None or self.trunk_reach is not None

    def trunk(self, lr: Tensor) -> Any:
        """What the network's `trunk` returns; None if it has none."""
        if not self.has_trunk:
            return None
        maps = self._call(0, "trunk", lr.clone())
        if self.trunk_reach is not None and not isinstance(maps, Tensor):
            raise self._nonsense("trunk", kind(maps), "one tensor, as trunk_reach asks for")
        if self.tiled:
            self._check_maps("trunk", maps, lr)
        return maps

    def latents(self, lr: Tensor, random: Sequence[torch.Generator]) -> Any:
        """What the network's `latents` returns; without one its random generator, or None if nothing is random."""
        seed = random[0].initial_seed()
        generator = torch.Generator(self._device).manual_seed(seed)
        if self.has_latents:
            latents = self._call(seed, "latents", lr.clone(), generator)
            if self.sample_reach is not None:
                self._check_maps("latents", latents, lr)
            return latents
        return None if self.deterministic else generator

    def sample(self, trunk: Any, lr: Tensor, latents: Any) -> Tensor:
        """An SR image, (1, 3, scale * h, scale * w) float32, checked."""
        if latents is None and not self.has_latents:
            latents = torch.Generator(self._device).manual_seed(0)
        seed = latents.initial_seed() if isinstance(latents, torch.Generator) else 0
        # networks often change their input in place; the next sample needs it as it was
        sr = self._call(seed, "sample", *([trunk] if self.has_trunk else []), lr.clone(), latents)
        shape = (1, 3, lr.shape[2] * self.scale, lr.shape[3] * self.scale)
        if not isinstance(sr, Tensor) or tuple(sr.shape) != shape or not sr.is_floating_point():
            raise self._nonsense("sample", kind(sr), f"a floating-point tensor of shape {shape}")
        if not bool(torch.isfinite(sr).all()):
            raise self._nonsense(
                "sample", "values that are no numbers (NaN or infinite)", "values about in [0, 1]"
            )
        if (most := float(sr.abs().max())) > MOST_VALUE:
            raise self._nonsense("sample", f"values of up to {most:.4g}", "values about in [0, 1]")
        return sr.detach().to(lr.device, torch.float32)

    def _call(self, seed: int, name: str, *arguments: Any) -> Any:
        method = _method(self._network, name)
        assert method is not None
        # no inference mode: a network may compute gradients in its own sampling
        with (
            guard_user_code(self.label, f"in {name}", self.printed),
            global_seed(seed, self._device),
            torch.no_grad(),
        ):
            return method(*arguments)

    def _check_maps(self, name: str, maps: Any, lr: Tensor) -> None:
        """Refuse what `tiles.cut` could not cut: anything but maps of the LR image, in lists and tuples."""
        if isinstance(maps, list | tuple):
            for each in maps:
                self._check_maps(name, each, lr)
            return
        height, width = lr.shape[2:]
        shape = tuple(maps.shape) if isinstance(maps, Tensor) else ()
        factor = shape[2] // height if len(shape) == 4 else 0
        if maps is not None and (not factor or shape[2:] != (factor * height, factor * width)):
            wanted = f"(1, C, k * {height}, k * {width}) in lists or tuples, which can be cut into tiles"
            raise self._nonsense(name, kind(maps), wanted)

    def _nonsense(self, name: str, found: str, wanted: str) -> NtireSrError:
        return NtireSrError(
            f"{self.label}: {name} returned {found}, not {wanted}", f"mend {name}; its LR images are in [0, 1]"
        )


def _method(network: Any, name: str) -> Callable[..., Any] | None:
    """A method of a network; a layer of this name is none."""
    found = getattr(network, name, None)
    return found if callable(found) and not isinstance(found, nn.Module) else None


def _count(network: Any) -> int | None:
    """Number of a network's parameters, from its method `parameters`, or from the modules among its attributes; None if
    there are none to count."""
    if callable(getattr(network, "parameters", None)):
        found = list(network.parameters())
    else:
        modules = [value for value in getattr(network, "__dict__", {}).values() if isinstance(value, nn.Module)]
        found = [parameter for module in modules for parameter in module.parameters()]
    return sum({id(each): each.numel() for each in found if isinstance(each, Tensor)}.values()) or None
