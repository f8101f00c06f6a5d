"""Photographs, crops and LR images."""

import cv2
import numpy as np
import pytest
import torch
from batches import batch_of

from ntire_sr.challenge.downscale import downscale_8bit
from ntire_sr.challenge.pixels import to_8bit, to_tensor
from ntire_sr.core.errors import UsageError, ValidationErrors
from ntire_sr.core.run_folder import RunFolder
from ntire_sr.data.lr_images import make_lr, write_validation
from ntire_sr.data.patches import PatchDataset
from ntire_sr.data.photographs import TRAINING_PHOTOGRAPHS, VALIDATION_PHOTOGRAPHS
from ntire_sr.samples.image_files import read_image, write_png

CPU = torch.device("cpu")


def test_training_and_validation_photographs_differ():
    assert not set(TRAINING_PHOTOGRAPHS) & set(VALIDATION_PHOTOGRAPHS)


def test_batch_depends_only_on_seed_and_step():
    first, second = PatchDataset(None, 32, 4), PatchDataset(None, 32, 4)
    batch_of(first, 2, 0, 0, CPU)
    made, again = batch_of(first, 3, 5, 7, CPU), batch_of(second, 3, 5, 7, CPU)
    assert torch.equal(made.lr, again.lr) and torch.equal(made.hr, again.hr)
    assert not torch.equal(made.hr, batch_of(first, 3, 5, 8, CPU).hr)


def test_lr_crop_is_8bit_downscale_of_hr_crop():
    lr, hr, _ = batch_of(PatchDataset(None, 64, 8), 4, 0, 0, CPU)
    assert (lr.shape, hr.shape) == ((4, 3, 8, 8), (4, 3, 64, 64))
    assert torch.equal(to_8bit(lr), downscale_8bit(to_8bit(hr), 8))


def test_crops_come_in_all_eight_orientations(tmp_path, photograph):
    write_png(tmp_path / "a.png", np.ascontiguousarray(photograph[:32, :32]))
    source = PatchDataset(tmp_path, 32, 4)
    crops = {to_8bit(batch_of(source, 1, 0, step, CPU)[1]).numpy().tobytes() for step in range(100)}
    image = to_tensor(read_image(tmp_path / "a.png"))
    turned = [torch.rot90(flipped, k, (2, 3)) for flipped in (image, image.flip(3)) for k in range(4)]
    assert crops == {turn.contiguous().numpy().tobytes() for turn in turned}


def test_subfolders_are_searched_and_small_images_left_out(tmp_path, photograph):
    write_png(tmp_path / "DIV2K_train_HR" / "0001.png", photograph)
    write_png(tmp_path / "small.png", np.ascontiguousarray(photograph[:20]))
    source = PatchDataset(tmp_path, 32, 4)
    assert [path.name for path in source.paths] == ["0001.png"]
    assert [path.name for path in source.too_small] == ["small.png"]
    with pytest.raises(UsageError, match=r"no image in .* has 512 x 512 pixels"):
        PatchDataset(tmp_path, 512, 4)


def test_all_broken_training_images_are_named(tmp_path, photograph):
    for name in ("a.png", "b.png", "c.png"):
        write_png(tmp_path / name, photograph)
    for name in ("a.png", "c.png"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:500])
    with pytest.raises(ValidationErrors) as caught:
        PatchDataset(tmp_path, 32, 4)
    assert [part in str(caught.value) for part in ("a.png", "b.png", "c.png")] == [True, False, True]


def test_lr_images_equal_those_of_the_challenge(golden, tmp_path):
    for scale in (4, 8):
        assert make_lr(golden / f"x{scale}" / "HR", tmp_path / f"x{scale}", scale) == 2
        for name in ("0801.png", "0802.png"):
            expected = read_image(golden / f"x{scale}" / "LR" / name)
            assert np.array_equal(read_image(tmp_path / f"x{scale}" / name), expected)


def test_without_crop_lr_sides_are_rounded_up(tmp_path, photograph):
    write_png(tmp_path / "HR" / "a.png", np.ascontiguousarray(photograph[:70, :83]))
    make_lr(tmp_path / "HR", tmp_path / "cut", 4)
    make_lr(tmp_path / "HR", tmp_path / "whole", 4, crop_multiple=1)
    assert read_image(tmp_path / "cut" / "a.png").shape == (16, 20, 3)
    assert read_image(tmp_path / "whole" / "a.png").shape == (18, 21, 3)


def test_hr_folder_as_output_is_refused(tmp_path, photograph):
    write_png(tmp_path / "a.png", photograph)
    with pytest.raises(UsageError, match="is the HR folder"):
        make_lr(tmp_path, tmp_path, 4)


def test_validation_images_are_numbered_from_801(tmp_path):
    run = RunFolder(tmp_path)
    write_validation(run, 8)
    assert sorted(path.name for path in run.validation_hr.iterdir()) == ["0801.png", "0802.png"]
    assert read_image(run.validation_lr(8) / "0801.png").shape == (37, 56, 3)


@pytest.fixture
def several(tmp_path, photograph):
    """A folder of three photographs of different sizes, one of them as small as a crop."""
    for number, (height, width) in enumerate(((96, 128), (48, 100), (32, 32))):
        write_png(tmp_path / "HR" / f"{number}.png", np.ascontiguousarray(photograph[:height, :width]))
    return tmp_path / "HR"


@pytest.mark.parametrize(("sharp", "downscale_min"), [(0.0, 1.0), (0.5, 1.0), (0.5, 0.5)])
def test_batches_from_memory_cache_and_device_are_equal(device, several, sharp, downscale_min):
    sources = [
        PatchDataset(several, 32, 4, kept, sharp, downscale_min=downscale_min)
        for kept in (None, "auto", "auto", "auto", None)
    ]
    assert [source.keep_on(device) for source in sources[3:]] == [True, True]
    assert "none decoded now" in sources[2].images.where
    assert len({source.digest for source in sources}) == 1
    for step in range(40):
        first = batch_of(sources[0], 4, 1, step, CPU)
        for source in sources:
            batch = batch_of(source, 4, 1, step, device)
            # a GPU may round a downscaled crop to the next grey level, and the LR image made from it, too
            grey_levels = 0 if downscale_min == 1 or device.type == "cpu" else 1
            for crops, expected in zip(batch[:2], first[:2], strict=True):
                assert (255 * (crops.cpu() - expected).abs()).max() <= grey_levels + 1e-3
            assert first[1].stride() == batch[1].stride(), "the layout decides what networks compute"


def test_images_are_kept_on_gpu_up_to_half_of_its_free_memory(several, monkeypatch):
    source, gpu = PatchDataset(several, 32, 4), torch.device("cuda", 0)
    size = 3 * (96 * 128 + 48 * 100 + 32 * 32)
    assert source.images.bytes == size
    expected, empty = batch_of(source, 4, 1, 0, CPU), torch.empty
    monkeypatch.setattr(torch, "empty", lambda *shape, device=None, **more: empty(*shape, **more))  # on the CPU
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, *place, _to=torch.Tensor.to, **more: tensor)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2 * size - 1, 10 * size))
    assert not source.keep_on(gpu) and source._resident is None
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2 * size, 10 * size))
    assert source.keep_on(gpu)
    monkeypatch.undo()
    assert torch.equal(batch_of(source, 4, 1, 0, CPU).hr, expected.hr)


@pytest.mark.parametrize("resident", [False, True])
def test_prepared_batch_for_gpu_is_pinned(several, monkeypatch, resident):
    source, pinned = PatchDataset(several, 32, 4), []
    if resident:
        source.keep_on(CPU)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: pinned.append(tensor) or tensor)
    prepared = source.prepare(4, 1, 0, pinned=True)
    assert len(pinned) == 1 and pinned[0] is prepared.crops
    source.prepare(4, 1, 0)
    assert len(pinned) == 1


@pytest.mark.parametrize(("size", "count"), [(8, 2), (8, 4), (7, 3), (2, 3)])
def test_shares_of_all_ranks_are_the_batch_of_one_process(several, size, count):
    source = PatchDataset(several, 32, 4, sharp=0.5)
    for step in range(5):
        whole = batch_of(source, size, 1, step, CPU)
        shares = [
            batch_of(source, size, 1, step, CPU, (rank, count))
            for rank in range(count)
            if size >= count or rank
        ]
        for name in ("lr", "hr"):
            assert torch.equal(getattr(whole, name), torch.cat([getattr(part, name) for part in shares]))


def test_sharp_crops_prefer_the_textured_half(tmp_path, photograph):
    image = np.full((96, 256, 3), 128, np.uint8)
    image[:, 128:] = photograph
    write_png(tmp_path / "a.png", image)
    flat = {}
    for sharp in (0.0, 0.5, 1.0):
        source = PatchDataset(tmp_path, 32, 4, sharp=sharp)
        flat[sharp] = sum(place.left <= 96 for step in range(50) for place in source.places(8, 0, step)) / 400
    # 97 of 225 places touch no texture; the best of four does with the fourth power of that
    assert abs(flat[0.0] - 97 / 225) < 0.08
    assert flat[1.0] < 0.08
    assert flat[1.0] < flat[0.5] < flat[0.0]


def test_sharp_above_one_is_refused(tmp_path):
    from ntire_sr.training.run_config import make_run_config

    with pytest.raises(UsageError, match=r"sharp 1\.5 is not a share"):
        make_run_config({"sharp": "1.5"})


def test_downscaled_crops_hold_more_fine_detail(tmp_path, photograph):
    """Photographs that are smooth at full size: the share of energy in the upper frequencies rises."""
    size = (photograph.shape[1] * 4, photograph.shape[0] * 4)
    write_png(tmp_path / "a.png", cv2.resize(photograph, size, interpolation=cv2.INTER_CUBIC))

    def fine_share(downscale_min):
        source = PatchDataset(tmp_path, 64, 4, downscale_min=downscale_min)
        crops = torch.cat([batch_of(source, 4, 0, step, CPU).hr for step in range(10)]).mean(1)
        crops = crops - crops.mean((1, 2), keepdim=True)
        window = torch.hann_window(64)
        energy = torch.fft.fft2(crops * window * window[:, None]).abs().square()
        frequency = torch.fft.fftfreq(64).abs()
        fine = torch.maximum(frequency[:, None], frequency) > 1 / 8
        return float((energy[:, fine].sum(1) / energy.sum((1, 2))).median())

    assert fine_share(0.25) > 1.5 * fine_share(1.0)


def test_downscaled_crops_have_sides_between_patch_and_limit(several):
    source = PatchDataset(several, 32, 4, downscale_min=0.5)
    locations = [location for step in range(60) for location in source.places(8, 0, step)]
    sides = {location.side for location in locations}
    assert min(sides) == 32 and 60 <= max(sides) <= 64
    for location in locations:
        height, width = source.images.sizes[location.image]
        assert location.top + location.side <= height and location.left + location.side <= width


def test_downscale_min_of_one_keeps_crops_of_earlier_runs(several):
    plain, explicit = PatchDataset(several, 32, 4), PatchDataset(several, 32, 4, downscale_min=1.0)
    assert plain.places(8, 3, 5) == explicit.places(8, 3, 5)


@pytest.mark.parametrize(
    "settings",
    [{"downscale_min": 0}, {"downscale_min": 1.5}, {"downscale_min": 0.5, "cached_orientations": "1"}],
)
def test_downscale_min_out_of_range_is_refused(settings):
    from ntire_sr.training.run_config import make_run_config

    with pytest.raises(UsageError, match="downscale_min"):
        make_run_config(settings)
