"""Terms of training losses. Each is a mean, so that its scale does not depend on batch or image size."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def feature_distance(one: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
    """L1 distance between two lists of feature maps, lower is closer: per layer, the sum over the C channels
    divided by sqrt(C), averaged over locations; then the mean over layers.

    The L1 distance of two vectors of unit length is at most sqrt(C) * 2, so that every layer lies in [0, 2].

    Args:
        one, other: two lists of (N, C, h, w), of equal shapes.

    Returns:
        A scalar, 0 or more.
    """
    distances = [(a - b).abs().sum(1).mean() / a.shape[1] ** 0.5 for a, b in zip(one, other, strict=True)]
    return torch.stack(distances).mean()


def adversarial_loss(logits: Tensor, as_real: bool) -> Tensor:
    """Non-saturating GAN loss (Goodfellow et al., "Generative Adversarial Nets", NeurIPS 2014): the binary
    cross-entropy between the logits and the label real, or generated if `as_real` is false. A scalar, lower
    is closer to the label; ln 2 at a logit of 0."""
    return functional.softplus(-logits if as_real else logits).mean()
