"""Interfaces of metrics of an image and of a data set."""

import math
from collections import Counter

import pytest
import torch

from ntire_sr.challenge.pixels import to_8bit, to_tensor, to_unit
from ntire_sr.core.errors import ArgumentTypeError, ArgumentValueError, NtireSrError
from ntire_sr.evaluation.metrics import registry
from ntire_sr.evaluation.metrics.base import Reference, compute_merged
from ntire_sr.evaluation.metrics.frechet import PatchFrechet
from ntire_sr.evaluation.metrics.lpips import LpipsMetric
from ntire_sr.evaluation.metrics.lpips_network import Lpips, load_lpips
from ntire_sr.evaluation.metrics.lr_psnr import official_crop

pytestmark = pytest.mark.numerical


def noisy(image: torch.Tensor, sigma: float) -> torch.Tensor:
    return to_8bit(to_unit(image) + sigma * torch.randn(image.shape))


def test_metrics_share_one_pass_of_the_lpips_network_per_image(alexnet, photograph, monkeypatch):
    images, layers = [], Lpips.layers

    def count_passes(self, image):
        images.append(image)  # kept, so that no two images share an address
        return layers(self, image)

    monkeypatch.setattr(Lpips, "layers", count_passes)
    hr = to_tensor(photograph)
    reference = Reference(hr, 4, load_lpips(alexnet))
    metrics = [LpipsMetric(reference), PatchFrechet.of_image(reference)]
    samples = [noisy(hr, 0.1) for _ in range(3)]
    for image in samples:
        sample = reference.sample(image)
        for metric in metrics:
            metric.update(sample)
    assert len(images) == 4
    assert len({image.data_ptr() for image in images}) == 4


def test_metrics_return_their_declared_values_and_share_no_key(alexnet, photograph):
    hr = to_tensor(photograph)
    log_spectral = registry.quality_metric("log-spectral")
    loaded = log_spectral.load(torch.device("cpu"), None)
    reference = Reference(hr, 4, load_lpips(alexnet), quality=[(log_spectral, loaded)])
    metrics = [kind(reference) for kind in registry.METRICS]
    for _ in range(2):
        for metric in metrics:
            metric.update(reference.sample(noisy(hr, 0.1)))
    assert [type(metric.compute()) for metric in metrics] == list(registry.value_classes())
    keys = Counter(key for kind in registry.value_classes() for key in kind.__struct_fields__)
    assert set(keys.values()) == {1}
    tensors = Counter(name for metric in metrics for name in metric.tensors())
    assert tensors == Counter(("lpips", "best", "deviation"))


def test_sample_is_cropped_to_the_scored_part_of_its_hr_image(photograph):
    whole = to_tensor(photograph)[:, :, :94, :125]
    sample = Reference(official_crop(whole), 4, whole=whole).sample(to_tensor(photograph))
    assert torch.equal(sample.sr, to_tensor(photograph)[:, :, :88, :120])
    assert sample.whole.shape == (1, 3, 96, 128)


def test_data_set_metric_from_records_equals_merged_metrics(alexnet, photograph):
    lpips, whole = load_lpips(alexnet), to_tensor(photograph)
    records, metrics = [], []
    for hr in (whole[..., :64], whole[..., 64:]):
        reference = Reference(hr, 4, lpips)
        metric = PatchFrechet.of_image(reference)
        for _ in range(2):
            metric.update(reference.sample(noisy(hr, 0.1)))
        metrics.append(metric)
        records.append(metric.tensors() | {"lpips": torch.zeros(1)})  # with a tensor of another metric
    distance = compute_merged(PatchFrechet, records)
    first, second = metrics
    first.merge(second)
    assert distance == first.compute() > 0
    assert first.hr.count * 2 == first.sr.count
    assert math.isnan(compute_merged(PatchFrechet, []))
    del records[1]["sr_patches.sum"]
    with pytest.raises(NtireSrError, match="patch statistics have the tensors"):
        compute_merged(PatchFrechet, records)


def test_images_other_than_single_8_bit_ones_are_refused():
    image = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    reference = Reference(image, 4)
    for make in (lambda wrong: Reference(wrong, 4), reference.sample):
        with pytest.raises(ArgumentTypeError, match="not of uint8"):
            make(image.float())
        with pytest.raises(ArgumentValueError, match="not a single image"):
            make(image.expand(2, 3, 32, 32))
    with pytest.raises(ArgumentValueError, match="smaller than hr"):
        reference.sample(image[:, :, :24])
