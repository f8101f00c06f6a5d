"""The settings of a training run that do not depend on the model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ntire_sr.challenge.downscale import SCALES
from ntire_sr.core.errors import require

MOST = 10**9  # steps, crops or pixels, far above any use


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training run that every model has; `TrainerSpec.settings` are those of one model."""

    # fmt: off
    model: str = "stochastic"  # name of the model: stochastic or srgan; or your own network, FILE.py:FUNCTION or MODULE:FUNCTION
    preset: str = "auto"  # a named set of values for this record and the model's, applied before all others; auto is finetune if the run starts from weights, pretrained with trunk, else tiny
    scale: int = 4  # HR pixels per LR pixel along an axis: 4 or 8
    hr: str | None = None  # folder of HR images, searched with its subfolders; without it, the embedded photographs
    cache: str | None = "auto"  # folder for decoded images; auto is the user's cache folder, none keeps them in memory
    cached_orientations: str = "auto"  # 1, 2, 4 or 8 flips and rotations of each photograph whose features on a frozen trunk are computed once and cached with the decoded images (8 bytes per HR pixel each); 0 computes them for every crop, without its surroundings; auto is 1 if the training uses at least as many pixels as the photographs have, else 0
    keep_on_device: bool = True  # whether a GPU holds all decoded images in its memory, if they fill at most half of it
    validation: str | None = "auto"  # folder of HR images to validate on; auto leaves some out of training, none skips validation
    validate_every: int = 250  # steps between validations
    start_from: str | None = "auto"  # weights file of the same model to initialise from (for your own network also one that its function reads), package for the weights shipped with ntire-sr, or none; network sizes that are not given are taken from the file, and tensors that do not fit are left out; auto is package if it has weights of this model and scale and neither a network size nor trunk is given
    trunk: str | None = None  # file of a pretrained x4 RRDBNet (ESRGAN, BSRGAN, Real-ESRGAN) to build the network on, for models that can
    sharp: float = 0.0  # share of crops that are the sharpest of 4 candidates; 0 means all crops are uniformly random
    downscale_min: float = 1.0  # each crop is first downscaled by a random factor from this to 1; 1 means none. Less than 1 gives crops more fine detail, and needs cached_orientations=0 or a trunk that learns
    seed: int = 0  # random seed for the initial weights, the crops and the noise
    device: str = "auto"  # auto, cpu or cuda
    steps: int = 700  # total number of optimiser steps
    max_minutes: float = 6.0  # stop with a checkpoint after this many minutes; 0 means no limit
    patch: int = 64  # side of an HR crop in pixels, a multiple of the scale
    batch: int = 8  # crops per step
    checkpoint_every: int = 100  # steps between checkpoints
    log_every: int = 10  # steps between lines of the log
    tensorboard: bool = False  # also write log and previews for TensorBoard, with the extra [tensorboard]
    features_file: str | None = None  # weights file of the pretrained network for feature losses; the package's if not given
    # fmt: on

    # see core.settings
    RENAMED: ClassVar[Mapping[str, str]] = {"feature_weights": "features_file"}
    EARLIER: ClassVar[Mapping[str, Any]] = {
        "downscale_min": 1.0,
        "cache": None,
        "cached_orientations": "0",
        "trunk": None,
        "sharp": 0.0,
    }

    def __post_init__(self) -> None:
        require(self.scale in SCALES, f"scale {self.scale} is not offered", "4 or 8")
        require(
            self.device in ("auto", "cpu", "cuda"), f"device {self.device!r} is unknown", "auto, cpu or cuda"
        )
        require(
            self.cached_orientations in ("auto", "0", "1", "2", "4", "8"),
            f"cached_orientations {self.cached_orientations!r} is not offered",
            "auto, 0, 1, 2, 4 or 8",
        )
        require(0 <= self.seed < 2**63, f"seed {self.seed} is out of range", "0 to 2**63 - 1")
        require(0 <= self.sharp <= 1, f"sharp {self.sharp} is not a share", "0 to 1")
        require(
            0 < self.downscale_min <= 1,
            f"downscale_min {self.downscale_min} is out of range",
            "above 0, up to 1",
        )
        require(
            self.downscale_min == 1 or self.cached_orientations in ("auto", "0"),
            f"downscale_min {self.downscale_min} needs crops whose features are not cached",
            "cached_orientations=0",
        )
        require(self.max_minutes >= 0, f"max_minutes {self.max_minutes} is negative", "0 for no limit")
        for name in ("steps", "batch", "patch", "checkpoint_every", "log_every", "validate_every"):
            value = getattr(self, name)
            require(1 <= value <= MOST, f"{name} {value} is out of range", f"1 to {MOST}")
        nearest = max(4, round(self.patch / self.scale)) * self.scale
        require(
            self.patch % self.scale == 0 and self.patch >= 4 * self.scale,
            f"patch {self.patch} is not a multiple of scale {self.scale}, at least {4 * self.scale}",
            f"{nearest}",
        )
