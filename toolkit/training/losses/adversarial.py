"""The adversarial loss, its R1 penalty, and its weight in proportion to other losses."""

import torch
from torch import Tensor, nn
from torch.nn import functional


def adversarial_loss(logits: Tensor, as_real: bool) -> Tensor:
    """Non-saturating GAN loss (Goodfellow et al., "Generative Adversarial Nets", NeurIPS 2014).

    It is the binary cross-entropy between the logits and the label real, or generated if `as_real` is false: a
    scalar, lower is closer to the label, ln 2 at a logit of 0."""
    return functional.softplus(-logits if as_real else logits).mean()


def r1_penalty(discriminator: nn.Module, real: Tensor) -> Tensor:
    """R1 penalty: squared norm of the discriminator's gradient at real images.

    Mescheder et al., "Which Training Methods for GANs do actually Converge?", ICML 2018, eq. 9 without gamma / 2. If
    a discriminator returns several logits per image, the gradient is that of their sum, and the penalty is divided by
    their number, since each further logit adds the pixels that it depends on.

    Args:
        discriminator: (N, 3, H, W) to logits (N, ...).
        real: (N, 3, H, W) in [0, 1].

    Returns:
        A scalar, 0 or more, to add to the discriminator's loss; its backward pass needs second derivatives.
    """
    real = real.detach().float().requires_grad_()
    logits = discriminator(real)
    (gradient,) = torch.autograd.grad(logits.float().sum(), real, create_graph=True)
    return gradient.square().sum() / logits.numel()


def balanced_weight(main: Tensor, extra: Tensor, share: float, limit: float) -> Tensor:
    """The weight that scales the gradient `extra` to `share` of the norm of the gradient `main`.

    After Esser et al., "Taming Transformers", CVPR 2021, eq. 7.

    Args:
        main, extra: norms of the gradients of two losses at the same tensor, scalars. Gradients at the
            generator's images cost nothing more: each loss is followed back to the images once, and their
            sum through the network.
        share: .1 makes the weighted `extra` a tenth of `main`.
        limit: upper bound of the weight, for an `extra` close to 0.

    Returns:
        A detached scalar in [0, limit].
    """
    tiny = torch.finfo(torch.float32).tiny
    return (share * main.detach().float() / extra.detach().float().clamp_min(tiny)).clamp(0, limit)
