"""Proxies of photo-realism by name. None of them replaces the challenge's study with human raters.

An image can be near the HR image and look wrong, or differ from it and look right. `niqe` and
`patch-frechet` measure whether it looks like a photograph, `log-spectral` measures whether it has as much
fine detail as the HR image, and `iqa:NAME` is any metric of `iqa`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ntire_sr.core.errors import UsageError, suggestion
from ntire_sr.core.files import sha256_file
from ntire_sr.evaluation.metrics import spectrum
from ntire_sr.evaluation.metrics.base import DataSetMetric, Reference, Sample
from ntire_sr.evaluation.metrics.frechet import PatchFrechet
from ntire_sr.evaluation.metrics.iqa import METRICS, load_metric
from ntire_sr.evaluation.metrics.niqe import PRISTINE_FILE, load_pristine, niqe

IQA_PREFIX = "iqa:"
NIQE, LOG_SPECTRAL = "niqe", "log-spectral"


@dataclass(frozen=True)
class QualityMetric:
    """Description of a proxy: name, label, unit and direction."""

    name: str
    label: str
    unit: str
    direction: str  # "lower" or "higher" values are better
    needs_reference: bool  # False: the HR image has a value, too
    data_set: type[DataSetMetric] | None = None  # metric of a whole data set; None: each image is measured

    @property
    def says(self) -> str:
        """Unit and direction in words, for tables."""
        return f"{self.unit}, {self.direction} is better" if self.unit else f"{self.direction} is better"


PROXIES = {
    NIQE: QualityMetric(NIQE, "NIQE", "", "lower", False),
    LOG_SPECTRAL: QualityMetric(LOG_SPECTRAL, "Log-spectral distance", "dB", "lower", True),
    "patch-frechet": QualityMetric(
        "patch-frechet", "Frechet distance of AlexNet's patches", "", "lower", True, PatchFrechet
    ),
}


def proxy_called(name: str) -> QualityMetric:
    """The description of the proxy with this name.

    Raises:
        UsageError: there is no such proxy.
    """
    if name.startswith(IQA_PREFIX) and name.removeprefix(IQA_PREFIX) in METRICS:
        metric = name.removeprefix(IQA_PREFIX)
        offered = METRICS[metric]
        return QualityMetric(name, f"{metric} (piq)", "", offered.direction, offered.needs_reference)
    if name not in PROXIES:
        known = [*PROXIES, *(IQA_PREFIX + metric for metric in METRICS)]
        raise UsageError(f"unknown proxy {name!r}", f"{suggestion(name, known)}; there are {', '.join(known)}")
    return PROXIES[name]


@dataclass(frozen=True)
class OpenProxy:
    """A proxy that is ready to measure single images."""

    name: str
    needs_reference: bool
    version: str  # version of its library or model, which its values depend on
    prepare: Callable[[Tensor], Any]  # HR image -> `prepared` for `measure`, called once per image
    measure: Callable[[Tensor, Any], float]  # (image, prepared) -> value; images are (1, 3, H, W) uint8


def open_proxy(name: str, device: torch.device, niqe_model: Path | None = None) -> OpenProxy:
    """Load a proxy that measures single images.

    Args:
        name: see `proxy_called`; proxies with a `data_set` metric are not allowed.
        device: device to compute on.
        niqe_model: pristine model for NIQE; None for the one that comes with the package.

    Raises:
        NtireSrError: a library or a file is missing.
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
    """Proxies of each sample and of the HR image, for proxies that measure single images: an `ImageMetric`.

    Args:
        proxies: the proxies to measure.
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
        """`realism`: values of all samples by name; `realism_hr`: values of the HR image, if defined."""
        of_hr = {
            proxy.name: proxy.measure(self.hr, known)
            for proxy, known in self.prepared
            if not proxy.needs_reference
        }
        return {"realism": self.values, "realism_hr": of_hr}

    def tensors(self) -> dict[str, Tensor]:
        """No tensors are kept."""
        return {}
