"""Losses that train a generator to draw samples of the posterior, for training loops outside of `ntire-sr train`.

Importing it loads torch. With K samples of each LR image, `energy_score` at gamma .5 is proper for every distance
here: no distribution of samples scores better on average than the true one.

>>> import torch
>>> from ntire_sr import losses
>>> hr = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
>>> samples = torch.rand(2, 4, 3, 32, 32, generator=torch.Generator().manual_seed(1)).requires_grad_()
>>> to_hr, pairwise = losses.energy_terms(samples, hr, losses.patch_norm(7))
>>> losses.energy_score(to_hr, pairwise, gamma=0.5).backward()
>>> round(losses.spread_ratio(to_hr.item(), pairwise.item()), 1)  # independent of the HR image: as far apart as from it
1.0

On features, here of the filter bank, which needs no file:

>>> phi = losses.FilterBank(colour=False)
>>> features = [maps.unflatten(0, (2, -1)) for maps in phi(samples.flatten(0, 1))]
>>> terms = losses.layers_energy_terms(features, phi(hr), losses.channel_norm)
>>> losses.energy_score(*terms, gamma=0.5).ndim
0
"""

from ntire_sr.training.losses.adversarial import adversarial_loss, balanced_weight, r1_penalty
from ntire_sr.training.losses.discriminator import UNetDiscriminator as PairDiscriminator
from ntire_sr.training.losses.energy import (
    best_of,
    channel_norm,
    energy_score,
    energy_terms,
    layers_energy_terms,
    location_norm,
    patch_norm,
    range_penalty,
    spread_ratio,
)
from ntire_sr.training.losses.features import FilterBank, build_features, feature_distance

__all__ = [
    "FilterBank",
    "PairDiscriminator",
    "adversarial_loss",
    "balanced_weight",
    "best_of",
    "build_features",
    "channel_norm",
    "energy_score",
    "energy_terms",
    "feature_distance",
    "layers_energy_terms",
    "location_norm",
    "patch_norm",
    "r1_penalty",
    "range_penalty",
    "spread_ratio",
]
