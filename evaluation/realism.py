"""Proxies of photo-realism by name. None replaces the challenge's judgement by people.

An image can be near the HR image and look wrong, or look right and be another one: `niqe` and
`patch-frechet` ask whether it looks like a photograph, `log-spectral` whether it has the HR image's
share of fine detail, and `iqa:NAME` is any metric of the library in `iqa`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ntire_sr.core.errors import WrongUse, suggestion
from ntire_sr.core.files import sha256_file
from ntire_sr.evaluation import spectrum
from ntire_sr.evaluation.frechet import PatchFrechet
from ntire_sr.evaluation.iqa import METRICS, load_metric
from ntire_sr.evaluation.metrics import DataSetMetric, Reference, Sample
from ntire_sr.evaluation.niqe import PRISTINE_FILE, load_pristine, niqe

IQA_PREFIX = "iqa:"
NIQE, LOG_SPECTRAL = "niqe", "log-spectral"


@dataclass(frozen=True)
class Proxy:
    """What a proxy says, and which values are better."""

    name: str
    label: str
    unit: str
    direction: str  # "lower" or "higher" values are better
    needs_reference: bool  # False: the HR image has a value of its own
    data_set: type[DataSetMetric] | None = None  # what measures whole sets of images; None: each is measured

    @property
    def says(self) -> str:
        """Unit and direction, for tables."""
        return f"{self.unit}, {self.direction} is better" if self.unit else f"{self.direction} is better"


PROXIES = {
    NIQE: Proxy(NIQE, "NIQE", "", "lower", False),
    LOG_SPECTRAL: Proxy(LOG_SPECTRAL, "Log-spectral distance", "dB", "lower", True),
    "patch-frechet": Proxy(
        "patch-frechet", "Frechet distance of AlexNet's patches", "", "lower", True, PatchFrechet
    ),
}


def proxy_called(name: str) -> Proxy:
    """The description of a proxy.

    Raises:
        WrongUse: there is none of this name.
    """
    if name.startswith(IQA_PREFIX) and name.removeprefix(IQA_PREFIX) in METRICS:
        metric = name.removeprefix(IQA_PREFIX)
        offered = METRICS[metric]
        return Proxy(name, f"{metric} (piq)", "", offered.direction, offered.needs_reference)
    if name not in PROXIES:
        known = [*PROXIES, *(IQA_PREFIX + metric for metric in METRICS)]
        raise WrongUse(f"unknown proxy {name!r}", f"{suggestion(name, known)}; there are {', '.join(known)}")
    return PROXIES[name]


@dataclass(frozen=True)
class OpenProxy:
    """A proxy that is ready to measure single images."""

    name: str
    needs_reference: bool
    version: str  # of whatever its figures depend on beside the images
    prepare: Callable[[Tensor], Any]  # HR image -> what `measure` needs of it, once per image
    measure: Callable[[Tensor, Any], float]  # (image, prepared) -> figure; images (1, 3, H, W) uint8


def open_proxy(name: str, device: torch.device, niqe_model: Path | None = None) -> OpenProxy:
    """A proxy of single images.

    Args:
        name: see `proxy_called`; not one that has a `data_set` metric.
        device: where to compute.
        niqe_model: pristine model for NIQE; None: the one that comes with the package.

    Raises:
        Failure: a library or a file is missing.
    """
    needs_reference = proxy_called(name).needs_reference
    if name == NIQE:
        path = niqe_model or PRISTINE_FILE
        pristine = load_pristine(path)
        return OpenProxy(
            name, needs_reference, sha256_file(path), lambda hr: None, lambda sr, _: niqe(sr, pristine)
        )
    if name == LOG_SPECTRAL:
        return OpenProxy(name, needs_reference, "1", spectrum.prepare, spectrum.log_spectral_distance)
    metric = load_metric(name.removeprefix(IQA_PREFIX), device)
    return OpenProxy(name, needs_reference, f"piq {version('piq')}", lambda hr: hr, metric.call)


class RealismMetrics:
    """Proxies of single images, of each sample and of the HR image: an `ImageMetric`.

    Args:
        proxies: which.
        reference: the HR image.
    """

    def __init__(self, proxies: Sequence[OpenProxy], reference: Reference):
        self.hr = reference.hr
        self.prepared = [(proxy, proxy.prepare(reference.hr)) for proxy in proxies]
        self.values: dict[str, list[float]] = {proxy.name: [] for proxy in proxies}

    def update(self, sample: Sample) -> None:
        """Measure one more sample."""
        for proxy, known in self.prepared:
            self.values[proxy.name].append(proxy.measure(sample.sr, known))

    def compute(self) -> dict[str, Any]:
        """`realism`: values of all samples by name; `realism_hr`: of the HR image, where it has one."""
        of_hr = {
            proxy.name: proxy.measure(self.hr, known)
            for proxy, known in self.prepared
            if not proxy.needs_reference
        }
        return {"realism": self.values, "realism_hr": of_hr}

    def tensors(self) -> dict[str, Tensor]:
        """Nothing is kept."""
        return {}
