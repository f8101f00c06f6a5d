"""Image quality metrics of the library piq, by name. They are optional: pip install 'ntire-sr[iqa]'.

piq 0.8 (Apache-2.0) rather than pyiqa, which has more and newer networks but is licensed for noncommercial
use only (PolyForm Noncommercial 1.0.0) and brings two dozen packages, while piq asks for torchvision alone.

Twelve metrics are formulas and need no weights. The others fetch weights into torch's hub cache when they
are first used; `NTIRE_SR_OFFLINE` forbids that.
"""

import importlib
import importlib.metadata
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Literal

import torch
from torch import Tensor

from ntire_sr.challenge.pixels import in_planes, to_unit
from ntire_sr.core.errors import NtireSrError, UsageError, suggestion
from ntire_sr.core.pretrained import OFFLINE_VARIABLE, NotFound
from ntire_sr.evaluation.metrics.base import LoadedMetric, QualityMetric

Direction = Literal["lower", "higher"]
_PROBE_PX = 256  # side of the image on which a metric with weights is tried when it is loaded


@dataclass(frozen=True)
class IqaMetric:
    """A loaded metric."""

    name: str
    direction: Direction  # which values are better
    needs_reference: bool  # False: the HR image may be None
    call: Callable[[Tensor, Tensor | None], float]  # (sr, hr), each (1, 3, H, W) uint8 on any device


@dataclass(frozen=True)
class _Offered:
    """A metric of piq before it is loaded."""

    attribute: str  # name in the module piq
    direction: Direction
    needs_reference: bool = True
    is_class: bool = False  # True: a class, to be instantiated once; False: a function of images
    weights: tuple[str, ...] = ()  # files that piq fetches


_VGG16 = "vgg16-397923af.pth"
METRICS = {
    "ssim": _Offered("ssim", "higher"),
    "ms-ssim": _Offered("multi_scale_ssim", "higher"),
    "iw-ssim": _Offered("information_weighted_ssim", "higher"),
    "vif": _Offered("vif_p", "higher"),
    "fsim": _Offered("fsim", "higher"),
    "srsim": _Offered("srsim", "higher"),
    "vsi": _Offered("vsi", "higher"),
    "haarpsi": _Offered("haarpsi", "higher"),
    "dss": _Offered("dss", "higher"),
    "gmsd": _Offered("gmsd", "lower"),
    "ms-gmsd": _Offered("multi_scale_gmsd", "lower"),
    "mdsi": _Offered("mdsi", "lower"),
    "brisque": _Offered("brisque", "lower", False, weights=("brisque_svm_weights.pt",)),
    "clip-iqa": _Offered("CLIPIQA", "higher", False, True, ("RN50.pt", "clipiqa_tokens.pt")),
    "dists": _Offered("DISTS", "lower", True, True, ("dists_weights.pt", _VGG16)),
    "lpips-vgg": _Offered("LPIPS", "lower", True, True, ("lpips_weights.pt", _VGG16)),
    "pieapp": _Offered("PieAPP", "lower", True, True, ("PieAPPv0.1.pth",)),
}


def load_metric(name: str, device: str | torch.device = "cpu") -> IqaMetric:
    """Load a metric of piq.

    Args:
        name: a key of `METRICS`.
        device: device to compute on; images are moved there.

    Raises:
        UsageError: piq has no metric with this name.
        NtireSrError: piq is not installed or cannot be imported, or weights cannot be fetched.
    """
    if name not in METRICS:
        raise UsageError(f"unknown quality metric {name!r}", suggestion(name, METRICS))
    offered = METRICS[name]
    piq = _import_piq()
    _refuse_download(name, offered.weights)
    try:
        attribute = getattr(piq, offered.attribute)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about arguments of torchvision that piq still uses
            compute = attribute().to(device).eval() if offered.is_class else attribute
            metric = _ready(name, offered, compute, torch.device(device))
            if offered.weights:  # some are fetched only at the first call
                probe = torch.arange(_PROBE_PX**2 * 3).view(1, 3, _PROBE_PX, _PROBE_PX) % 251
                metric.call(probe.byte(), probe.byte())
    except Exception as error:
        reason = error.message if isinstance(error, NtireSrError) else f"{type(error).__name__}: {error}"
        files = f"; it needs {', '.join(offered.weights)}" if offered.weights else ""
        raise NtireSrError(
            f"the quality metric {name} of piq cannot be set up ({reason}){files}",
            "connect to the network once, or leave this metric out"
            if offered.weights
            else "pip install --upgrade 'ntire-sr[iqa]'",
        ) from error
    return metric


def _import_piq() -> ModuleType:
    try:
        return importlib.import_module("piq")
    except Exception as error:  # an incompatible torchvision raises errors of various types
        if isinstance(error, ModuleNotFoundError) and error.name == "piq":
            raise NtireSrError(
                "the library piq, which computes further quality metrics, is not installed",
                "pip install 'ntire-sr[iqa]'",
            ) from error
        raise NtireSrError(
            f"the library piq is installed and cannot be imported ({type(error).__name__}: {error})",
            "install the torchvision that belongs to your torch: https://pytorch.org/get-started",
        ) from error


def _refuse_download(name: str, weights: tuple[str, ...]) -> None:
    """Raise NotFound if weights are not cached and downloads are forbidden."""
    if os.environ.get(OFFLINE_VARIABLE, "0") in ("", "0"):
        return
    folders = (Path(torch.hub.get_dir()) / "checkpoints", Path.home() / ".cache" / "clip")
    missing = [file for file in weights if not any((folder / file).is_file() for folder in folders)]
    if missing:
        raise NotFound(
            f"the quality metric {name} needs {', '.join(missing)}, and {OFFLINE_VARIABLE} forbids downloads",
            f"run it once without {OFFLINE_VARIABLE}, or put the file into {folders[0]}",
        )


def _ready(name: str, offered: _Offered, compute: Callable[..., Tensor], device: torch.device) -> IqaMetric:
    """The metric as a function of 8-bit images, which are converted to piq's range [0, 1]."""

    @torch.inference_mode()
    def call(sr: Tensor, hr: Tensor | None) -> float:
        images = [sr]
        if offered.needs_reference:
            if hr is None:
                raise ValueError(f"{name} needs the HR image")
            images.append(hr)
        try:
            return float(compute(*(to_unit(in_planes(image.to(device))) for image in images)))
        except Exception as error:  # such as an image that is too small for this metric
            height, width = sr.shape[2:]
            raise NtireSrError(
                f"the quality metric {name} of an image of {width} x {height} pixels failed "
                f"({type(error).__name__}: {error})",
                "leave this metric out",
            ) from error

    return IqaMetric(name, offered.direction, offered.needs_reference, call)


def _load(name: str, device: torch.device, niqe_model: Path | None) -> LoadedMetric:
    return LoadedMetric(f"piq {importlib.metadata.version('piq')}", load_metric(name, device).call)


QUALITY_METRICS = tuple(
    QualityMetric(
        name=f"iqa:{name}",
        label=f"{name} (piq)",
        direction=offered.direction,
        needs_reference=offered.needs_reference,
        load=partial(_load, name),
    )
    for name, offered in METRICS.items()
)
