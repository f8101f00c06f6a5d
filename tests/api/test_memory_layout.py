"""Figures do not depend on how the caller's arrays and tensors lie in memory.

Every function brings images into one layout, so that equality is by construction: the kernels that processors choose by
layout differ in the last bits. Strides are checked in addition to figures, since on some processors these kernels agree.
"""

import numpy as np
import pytest
import torch

from ntire_sr import SampleSetMetric, downscale, lpips, lr_psnr, project, project_float, score_samples
from ntire_sr.api.inputs import repeat_to_match, take
from ntire_sr.challenge import projection
from ntire_sr.challenge.downscale import downscale as linear_downscale
from ntire_sr.challenge.pixels import in_planes, to_unit
from ntire_sr.evaluation.metrics.base import Reference
from ntire_sr.evaluation.metrics.niqe import load_pristine, luma, niqe
from ntire_sr.evaluation.metrics.spectrum import prepare

# the same (N, H, W, 3) array, laid out otherwise
ARRAYS = {
    "contiguous": np.ascontiguousarray,
    "Fortran order": np.asfortranarray,
    "negative strides": lambda images: np.ascontiguousarray(images[:, ::-1, ::-1, ::-1])[:, ::-1, ::-1, ::-1],
    "transposed view": lambda images: np.ascontiguousarray(images.swapaxes(1, 2)).swapaxes(1, 2),
    "planes": lambda images: np.ascontiguousarray(images.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1),
    "every other column": lambda images: images.repeat(2, axis=2)[:, :, ::2],
}
# the same (N, 3, H, W) tensor, laid out otherwise
TENSORS = {
    "contiguous": lambda images: images.clone(memory_format=torch.contiguous_format),
    "channels last": lambda images: images.clone(memory_format=torch.channels_last),
    "transposed view": lambda images: images.mT.contiguous().mT,
    "planes of a batch after batch": lambda images: images.transpose(0, 1).contiguous().transpose(0, 1),
    "every other column": lambda images: images.repeat_interleave(2, 3)[..., ::2],
    "part of a larger image": lambda images: torch.nn.functional.pad(images, (1, 2, 3, 4))[..., 3:-4, 1:-2],
}
FORMS = {
    **{f"array, {name}": layout for name, layout in ARRAYS.items()},
    **{
        f"tensor like an array, {name}": lambda images, layout=layout: tensor(layout(images))
        for name, layout in ARRAYS.items()
    },
    **{
        f"uint8 tensor, {name}": lambda images, layout=layout: layout(tensor(images).permute(0, 3, 1, 2))
        for name, layout in TENSORS.items()
    },
    **{
        f"float tensor, {name}": lambda images, layout=layout: layout(
            to_unit(tensor(images).permute(0, 3, 1, 2))
        )
        for name, layout in TENSORS.items()
    },
}


def tensor(images: np.ndarray) -> torch.Tensor:
    """The array as tensor with its strides, which torch takes unless they are negative."""
    return torch.from_numpy(images if min(images.strides) >= 0 else images.copy())


def new_strides(image: torch.Tensor) -> tuple[int, ...]:
    return torch.empty(image.shape, device="meta").stride()


@pytest.fixture(scope="module")
def samples(photograph) -> np.ndarray:
    """Two samples of the photograph, 96 x 128."""
    images = np.stack([photograph, photograph])
    images[0, 8:24, 8:40] ^= 3
    images[1, 24:40, 8:40] ^= 11
    return images


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(2, 6, 5, 3), (1, 6, 5, 3), (1, 1, 5, 3), (2, 6, 1, 3), (1, 1, 1, 3)])
def test_images_of_any_layout_become_contiguous_planes(form, shape):
    images = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    taken = take("sr", FORMS[form](images))
    expected = torch.from_numpy(images).permute(0, 3, 1, 2)
    assert torch.equal(taken.levels, expected)
    for pixels in (taken.pixels, taken.levels, taken.unit):
        assert pixels.stride() == new_strides(pixels)
    if len(images) == 1:
        shared = repeat_to_match(take("sr", np.concatenate([images] * 3)), taken).pixels
        assert shared.stride() == new_strides(shared)


@pytest.mark.parametrize(
    "shape", [(2, 3, 4, 5), (1, 3, 4, 5), (1, 1, 4, 5), (1, 3, 1, 5), (1, 3, 4, 1), (3, 1, 1, 1)]
)
@pytest.mark.parametrize("layout", TENSORS)
def test_planes_have_the_strides_of_a_new_tensor(layout, shape):
    image = torch.rand(shape)
    planes = in_planes(TENSORS[layout](image))
    assert torch.equal(planes, image) and planes.stride() == new_strides(image)
    assert in_planes(planes) is planes  # no copy where none is needed


def test_planes_pass_gradients_on():
    image = torch.rand(1, 3, 4, 5).to(memory_format=torch.channels_last).requires_grad_()
    in_planes(image).sum().backward()
    assert torch.equal(image.grad, torch.ones(1, 3, 4, 5))


def test_figures_of_samples_are_equal_in_every_form(samples, photograph, alexnet, monkeypatch):
    monkeypatch.setenv("NTIRE_SR_LPIPS_WEIGHTS", str(alexnet))
    lr = downscale(photograph, 4)
    figures = {}
    for name, form in FORMS.items():
        given, hr = form(samples), form(photograph[None])
        metric = SampleSetMetric(4, realism=["patch-frechet"])
        metric.update(given, hr)
        figures[name] = (
            score_samples(given, hr, 4, realism=["niqe", "log-spectral"]),
            metric.compute(),
            lpips(given, hr).tolist(),
            lr_psnr(given, form(lr[None]), 4).tolist(),
        )
    first = repr(next(iter(figures.values())))
    assert [name for name, figure in figures.items() if repr(figure) != first] == []


def test_projections_are_equal_in_every_form(samples, photograph):
    lr = downscale(photograph, 4)
    expected, figures, _ = project(samples, lr, 4)
    for name, form in FORMS.items():
        images, projected, _ = project(form(samples), form(lr[None]), 4)
        planes = torch.as_tensor(images)
        planes = planes if planes.shape[1] == 3 else planes.permute(0, 3, 1, 2)
        assert torch.equal(planes, torch.from_numpy(expected).permute(0, 3, 1, 2)), name
        assert projected.tolist() == figures.tolist(), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_float_images_give_equal_results_in_every_layout(dtype, monkeypatch):
    sr, lr = torch.rand(2, 3, 32, 48, dtype=dtype), torch.rand(1, 3, 8, 12, dtype=dtype)
    reduced, projected, seen = downscale(sr, 4), project_float(sr, lr, 4), []
    for module, name, plain in (
        ("ntire_sr.challenge.downscale", "downscale", linear_downscale),
        ("ntire_sr.challenge.projection", "project", projection.project),
    ):

        def recorded(*images, plain=plain):
            seen.extend(image for image in images if isinstance(image, torch.Tensor))
            return plain(*images)

        monkeypatch.setattr(f"{module}.{name}", recorded)
    for layout in TENSORS.values():
        assert torch.equal(downscale(layout(sr), 4), reduced)
        assert torch.equal(project_float(layout(sr), layout(lr), 4), projected)
    assert len(seen) == 3 * len(TENSORS)
    assert all(image.stride() == new_strides(image) for image in seen)


@pytest.mark.parametrize("layout", TENSORS)
def test_metrics_see_planes_whatever_layout_images_have(layout, photograph):
    whole = TENSORS[layout](torch.from_numpy(photograph).permute(2, 0, 1)[None])
    reference = Reference(whole[:, :, :88, :120], 4, whole=whole)
    sample = reference.sample(whole)
    for image in (reference.hr, reference.whole, sample.sr, sample.whole):
        assert image.stride() == new_strides(image)
    assert luma(whole).stride() == (96 * 128, 96 * 128, 128, 1)
    pristine, planes = load_pristine(), in_planes(whole)
    assert niqe(whole, pristine) == niqe(planes, pristine)
    assert torch.equal(prepare(whole), prepare(planes))


@pytest.mark.parametrize("layout", TENSORS)
def test_8_bit_projection_computes_in_planes(layout, monkeypatch):
    seen, plain = [], projection.to_8bit
    monkeypatch.setattr(projection, "to_8bit", lambda image: seen.append(image) or plain(image))
    lr = (torch.rand(1, 3, 8, 12) * 255).to(torch.uint8)
    sr = to_unit(lr).repeat_interleave(4, 2).repeat_interleave(4, 3)
    expected = projection.project_uint8(sr, lr, 4)
    seen.clear()
    projected = projection.project_uint8(TENSORS[layout](sr), TENSORS[layout](lr), 4)
    assert torch.equal(projected.image, expected.image) and projected.lr_psnr_db == expected.lr_psnr_db
    rounds = seen[1:]  # the first is the image as it came
    assert rounds and all(image.stride() == new_strides(image) for image in rounds)
