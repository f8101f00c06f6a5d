"""Why samples have a low LR-PSNR: other LR images than HR's downscale, another order, or a mistake in the images."""

from collections.abc import Sequence

from ntire_sr.challenge.downscale import REQUIRED_DB, downscale_8bit, psnr_db
from ntire_sr.challenge.mismatch import OTHER_DB, OtherImages, find_mismatch
from ntire_sr.challenge.names import SampleName
from ntire_sr.challenge.pixels import to_tensor
from ntire_sr.core.errors import condense, plural, shorten
from ntire_sr.evaluation.metrics.declarations import ImageScore
from ntire_sr.evaluation.metrics.lr_psnr import LrValues, official_crop
from ntire_sr.evaluation.scoring.matching import SampleGroup
from ntire_sr.samples.image_files import read_image, read_png
from ntire_sr.samples.manifest import Manifest

MOST_IMAGES = 20  # images that are looked at, evenly spread over those with a sample under 45 dB


def diagnose(
    groups: Sequence[SampleGroup], scores: Sequence[ImageScore], scale: int, manifest: Manifest | None
) -> list[str]:
    """Reasons why samples are under 45 dB, as far as they are found.

    Args:
        groups: the images with the files of their samples.
        scores: the measured values, in the same order.
        scale: HR pixels per LR pixel along an axis.
        manifest: manifest of the samples; None if they have none.
    """
    notes = _other_lr(groups, scores, manifest)
    under: list[tuple[SampleGroup, int, float]] = []  # with the position of the worst sample and its LR-PSNR
    for group, score in zip(groups, scores, strict=True):
        errors = score.of(LrValues).lr_errors
        worst = max(range(len(errors)), key=lambda position: errors[position])
        if psnr_db(errors[worst]) < REQUIRED_DB:
            under.append((group, worst, psnr_db(errors[worst])))
    others = OtherImages()
    if any(db < OTHER_DB for _, _, db in under) and len(groups) > 1:
        for group in groups:
            others.add(group.hr.name, downscale_8bit(official_crop(to_tensor(read_image(group.hr))), scale))
    lines = []
    step = max(1.0, len(under) / MOST_IMAGES)
    for group, position, _ in (under[int(number * step)] for number in range(min(MOST_IMAGES, len(under)))):
        hr = official_crop(to_tensor(read_image(group.hr)))
        sample = to_tensor(read_png(group.samples[position]))[:, :, : hr.shape[2], : hr.shape[3]]
        mismatch = find_mismatch(downscale_8bit(sample, scale), downscale_8bit(hr, scale), others)
        if mismatch:
            lines.append(f"{group.samples[position].name} of {group.hr.name} {mismatch.text}")
    if any(" fits " in line for line in lines):
        lines.append(
            "samples have the indices of the HR images in the order of their names as text: 1, 10, 2, not 1, 2, 10"
        )
    return [*notes, *condense(lines, most=5)]


def _other_lr(
    groups: Sequence[SampleGroup], scores: Sequence[ImageScore], manifest: Manifest | None
) -> list[str]:
    """Whether samples fit the LR images that they were drawn from, by their manifest, and not the HR images' downscale."""
    if manifest is None:
        return []
    names, worst = [], REQUIRED_DB
    for group, score in zip(groups, scores, strict=True):
        errors = dict(zip(group.numbers, score.of(LrValues).lr_errors, strict=True))
        for number, error in errors.items():
            record = manifest.files.get(str(SampleName(group.index, number)))
            if record and record.lr_psnr_db >= REQUIRED_DB > psnr_db(error):
                names.append(group.hr.name)
                worst = min(worst, psnr_db(error))
                break
    if not names:
        return []
    return [
        f"The LR images of {plural(len(names), 'image')} are not the official downscale of the HR images: their samples have "
        f"{REQUIRED_DB:.0f} dB or more with the LR images that they were drawn from, and down to {worst:.1f} dB with the "
        f"downscale of {shorten(names)}. `ntire-sr downscale` makes the official ones."
    ]
