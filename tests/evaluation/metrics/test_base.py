"""The interfaces of metrics: of an image and of a data set."""

import math
from collections import Counter
from dataclasses import fields

import pytest
import torch

from ntire_sr.challenge.pixels import to_8bit, to_tensor, to_unit
from ntire_sr.core.errors import NtireSrError, WrongType, WrongValue
from ntire_sr.evaluation.metrics.base import Reference, compute_merged
from ntire_sr.evaluation.metrics.calibration import LpipsPairs
from ntire_sr.evaluation.metrics.frechet import PatchFrechet
from ntire_sr.evaluation.metrics.lpips import Lpips, load_lpips
from ntire_sr.evaluation.metrics.lr_psnr import LrMetrics, official_crop
from ntire_sr.evaluation.metrics.perceptual import LpipsErrors
from ntire_sr.evaluation.metrics.pixels import PixelMetrics
from ntire_sr.evaluation.metrics.quality import RealismMetrics, open_proxy
from ntire_sr.evaluation.scoring.records import ImageScore

pytestmark = pytest.mark.numerical


def noisy(image: torch.Tensor, sigma: float) -> torch.Tensor:
    return to_8bit(to_unit(image) + sigma * torch.randn(image.shape))


def test_all_metrics_of_lpips_features_share_one_pass_of_the_network_per_image(
    alexnet, photograph, monkeypatch
):
    passes, plain = Counter(), Lpips.layers

    def counted(self, image):
        passes[image.data_ptr()] += 1
        return plain(self, image)

    monkeypatch.setattr(Lpips, "layers", counted)
    hr = to_tensor(photograph)
    reference = Reference(hr, 4, load_lpips(alexnet))
    metrics = [LpipsErrors(reference), LpipsPairs(reference), PatchFrechet.of_image(reference)]
    samples = [noisy(hr, 0.1) for _ in range(3)]
    for image in samples:
        sample = reference.sample(image)
        for metric in metrics:
            metric.update(sample)
    assert len(passes) == 4 and set(passes.values()) == {1}


def test_the_figures_of_all_metrics_are_the_fields_of_an_images_score_and_none_comes_twice(alexnet, photograph):
    hr = to_tensor(photograph)
    reference = Reference(hr, 4, load_lpips(alexnet))
    proxies = [open_proxy("log-spectral", torch.device("cpu"))]
    metrics = [kind(reference) for kind in (PixelMetrics, LrMetrics, LpipsErrors, LpipsPairs)]
    metrics.append(RealismMetrics(proxies, reference))
    for _ in range(2):
        for metric in metrics:
            metric.update(reference.sample(noisy(hr, 0.1)))
    names = Counter(name for metric in metrics for name in metric.compute())
    assert set(names) == {field.name for field in fields(ImageScore)} - {"index", "name", "numbers"}
    assert set(names.values()) == {1}
    assert Counter(name for metric in metrics for name in metric.tensors()) == Counter(
        ("lpips", "best", "deviation")
    )


def test_a_sample_is_seen_through_the_window_of_its_hr_image(photograph):
    whole = to_tensor(photograph)[:, :, :94, :125]
    sample = Reference(official_crop(whole), 4, whole=whole).sample(to_tensor(photograph))
    assert torch.equal(sample.sr, to_tensor(photograph)[:, :, :88, :120])
    assert sample.whole.shape == (1, 3, 96, 128)


def test_a_data_sets_figure_from_the_records_of_its_images_is_that_of_one_metric_that_saw_them_all(
    alexnet, photograph
):
    lpips, whole = load_lpips(alexnet), to_tensor(photograph)
    kept, seen = [], []
    for hr in (whole[..., :64], whole[..., 64:]):
        reference = Reference(hr, 4, lpips)
        seen.append(PatchFrechet.of_image(reference))
        for _ in range(2):
            seen[-1].update(reference.sample(noisy(hr, 0.1)))
        kept.append(seen[-1].tensors() | {"lpips": torch.zeros(1)})  # beside what others keep
    found = compute_merged(PatchFrechet, kept)
    seen[0].merge(seen[1])
    assert found == seen[0].compute() > 0
    assert seen[0].hr.count * 2 == seen[0].sr.count
    assert math.isnan(compute_merged(PatchFrechet, []))
    del kept[1]["sr_patches.sum"]
    with pytest.raises(NtireSrError, match="patch statistics have the tensors"):
        compute_merged(PatchFrechet, kept)


def test_an_image_that_is_not_a_single_one_of_8_bits_is_no_reference_and_no_sample():
    image = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    reference = Reference(image, 4)
    for make in (lambda wrong: Reference(wrong, 4), reference.sample):
        with pytest.raises(WrongType, match="not of uint8"):
            make(image.float())
        with pytest.raises(WrongValue, match="not a single image"):
            make(image.expand(2, 3, 32, 32))
    with pytest.raises(WrongValue, match="smaller than hr"):
        reference.sample(image[:, :, :24])
