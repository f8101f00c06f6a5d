"""Scoring of a folder of samples, from its files to the tables and the report."""

from dataclasses import dataclass, replace
from pathlib import Path

from ntire_sr.challenge.downscale import CROP_MULTIPLE
from ntire_sr.challenge.names import DEFAULT_SAMPLES, SampleName, samples_per_image
from ntire_sr.core.distributed import ProcessGroup
from ntire_sr.core.errors import NtireSrError, ValidationErrors, plural, require
from ntire_sr.core.files import make_folder, relative_to, sha256_of_digests, write_json
from ntire_sr.core.pretrained import ALEXNET, find
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.evaluation.metrics.base import compute_merged
from ntire_sr.evaluation.metrics.lpips_network import SMALLEST_PX
from ntire_sr.evaluation.metrics.registry import quality_metric
from ntire_sr.evaluation.pages.score_page import write_score_page
from ntire_sr.evaluation.scoring.csv_tables import write_tables
from ntire_sr.evaluation.scoring.diagnosis import diagnose
from ntire_sr.evaluation.scoring.matching import MatchedSamples, match_samples
from ntire_sr.evaluation.scoring.opinion import Opinions, load_opinions
from ntire_sr.evaluation.scoring.records import ImageResult, Records
from ntire_sr.evaluation.scoring.scorer import Scorer, Settings
from ntire_sr.evaluation.scoring.summary import Origin, ScoreSummary
from ntire_sr.evaluation.scoring.workers import measure_all
from ntire_sr.samples.extraction import extract_samples
from ntire_sr.samples.folders import list_images, list_samples
from ntire_sr.samples.manifest import load_manifest


@dataclass(frozen=True)
class FolderScore:
    """A score and the folder that it was written to."""

    score: ScoreSummary
    out: Path
    report: Path | None
    kept: int  # images that an earlier run had measured
    lpips_missing: str | None  # why LPIPS was not measured; None if it was


def score_folder(
    hr: Path,
    sr: Path,
    out: Path,
    scale: int | None = None,
    samples: int | None = None,
    device: str = "auto",
    lpips_weights: Path | None = None,
    without_lpips: str | None = None,
    realism: tuple[str, ...] = (),
    niqe_model: Path | None = None,
    distortion: bool = False,
    border_px: int | None = None,
    skip_missing: bool = False,
    workers: int = 1,
    with_report: bool = True,
    study: Path | None = None,
    study_method: str | None = None,
    lr_names: str | None = None,
    progress: Progress = SILENT,
) -> FolderScore | None:
    """Score a folder of samples and write the tables and the report.

    Images that an earlier, interrupted call has measured are not measured again, as long as files and
    settings are the same. Under `torchrun` each process measures a share of the images, and the main one
    writes the results.

    Args:
        hr, sr, out: folders of HR images, of samples, and for the results. `sr` may be a zip, whose samples are
            then extracted to `out`/samples.
        scale: HR pixels per LR pixel along an axis; None for the manifest's, or 4 without a manifest.
        samples: samples per image; None for the manifest's number, or without a manifest for what the files' names show,
            see `samples_per_image`.
        device: auto, cpu or cuda.
        lpips_weights: file of AlexNet's weights; None for the one in the package.
        without_lpips: why LPIPS is not measured, only LR-PSNR and the diversity of MSE; None to measure it.
        realism: names of quality metrics, see `ntire_sr.evaluation.metrics.registry`.
        niqe_model: pristine model for NIQE; None for the one in the package.
        distortion: whether to measure PSNR and SSIM.
        border_px: width of the border that they leave out; None for the scale.
        skip_missing: accept missing samples and measure the existing ones.
        workers: number of worker processes on this machine, of each process under torchrun.
        with_report: whether to write the HTML page.
        study: results of a study with people, for MOR and the final rank; see `opinion.load_opinions`.
        study_method: name of the samples' method there; None to find it by the digest of the samples.
        lr_names: pattern of the LR images' names, such as "{stem}_small" for small versions of the HR images; None to find it.
        progress: reports how many files were checked and images measured.

    Returns:
        The score; None in all processes but the main one.

    Raises:
        ValidationErrors: all problems of the folders.
        UsageError: a setting contradicts the manifest or another setting.
        NtireSrError: a file of weights cannot be used, or images could not be measured.
    """
    processes = ProcessGroup()
    given = sr
    if given.is_file():
        sr = out / "samples"
        processes.broadcast_from_main(lambda: extract_samples([given], out / "samples", progress))
    manifest = load_manifest(sr)
    drawn_at = manifest.settings.scale if manifest else None
    require(
        scale is None or drawn_at in (None, scale),
        f"{sr} was drawn at scale {drawn_at}, not {scale}",
        f"--scale {drawn_at}",
    )
    scale = scale or drawn_at or 4
    with_lpips = without_lpips is None
    require(study_method is None or study is not None, "--study-method without --study", "give both")
    opinions = load_opinions(study) if study else None
    require(border_px is None or distortion, "--border without --distortion", "give both")
    if distortion and border_px is None:
        border_px = scale
    settings = Settings(
        scale, device, lpips_weights, with_lpips, tuple(dict.fromkeys(realism)), niqe_model, border_px
    )
    _check_quality(settings)
    require(
        not out.resolve().is_relative_to(sr.resolve()),
        f"--out {out} lies in the folder of samples {sr}",
        "choose another --out",
    )

    def check_folders() -> int:
        # quick checks, before networks are loaded and all files are read, so that errors appear at once
        list_images(hr, "HR", progress=progress)
        files, _ = list_samples(sr)
        if settings.lpips:
            find(ALEXNET, settings.lpips_weights)
        if samples is not None:
            return samples
        if manifest:
            return manifest.samples
        count = samples_per_image(files)
        if count != DEFAULT_SAMPLES:
            progress.message(
                f"note: {given} has no manifest; by its files it has {plural(count, 'sample')} per image, where the "
                f"challenge asks for {DEFAULT_SAMPLES} (--samples sets another number)"
            )
        return count

    per_image = processes.broadcast_from_main(check_folders)
    scorer = Scorer(settings)

    def inspect() -> MatchedSamples:
        return match_samples(
            hr,
            sr,
            per_image,
            scale,
            manifest,
            skip_missing,
            progress,
            SMALLEST_PX if with_lpips else CROP_MULTIPLE,
            lr_names,
            given,
        )

    groups = processes.broadcast_from_main(inspect)
    if opinions:
        processes.broadcast_from_main(lambda: opinions.of(_samples_sha256(groups), study_method))
    records = Records(make_folder(out / "records"))
    keys = {group.index: scorer.key(group) for group in groups.images}
    measured = {group.index for group in groups.images if records.load(group.index, keys[group.index])}
    kept = processes.broadcast_from_main(lambda: measured)  # all processes must agree on the remaining images
    remaining = processes.shard([group for group in groups.images if group.index not in kept])
    problems = measure_all(remaining, scorer, records, workers, progress)
    all_problems = [problem for part in processes.all_gather(problems) for problem in part]
    if all_problems:

        def refuse() -> None:
            raise ValidationErrors("scoring", all_problems, "replace these files; what was measured is kept")

        processes.broadcast_from_main(refuse)
    if not processes.is_main:
        processes.close()
        return None
    origin = Origin(
        hr=relative_to(hr, out),
        sr=relative_to(sr, out),
        measured_with=scorer.measured_with,
        keys=keys,
        digests={group.index: group.digests for group in groups.images},
    )
    score = _assemble(records, origin, groups, per_image, settings, opinions, study_method)
    score = replace(score, reasons=diagnose(groups.images, score.images, scale, manifest))
    write_tables(score, out)
    write_json(out / "score.json", score.as_json())
    records.discard_others(set(keys))
    report = out / "report.html"
    if not with_report:
        report.unlink(missing_ok=True)  # an earlier one would show other figures
    else:
        write_score_page(report, score, groups.images, records, manifest, without_lpips, progress)
    processes.close()
    return FolderScore(score, out, report if with_report else None, len(kept), without_lpips)


def _check_quality(settings: Settings) -> None:
    """Refuse quality metrics that cannot be measured with these settings, before any image is measured."""
    for metric in map(quality_metric, settings.realism):
        require(
            settings.lpips or metric.data_set is None or not metric.data_set.needs_lpips,
            f"{metric.name} is measured on the features of LPIPS",
            f"leave out --without-lpips or --realism {metric.name}",
        )


def _assemble(
    records: Records,
    origin: Origin,
    groups: MatchedSamples,
    samples: int,
    settings: Settings,
    opinions: Opinions | None,
    study_method: str | None,
) -> ScoreSummary:
    """The score from the records of all images."""
    measured: list[ImageResult] = []
    for index, key in sorted(origin.keys.items()):
        record = records.load(index, key)
        if record is None:
            raise NtireSrError(
                f"the record of image {index} in {records.folder} is gone or changed since it was measured",
                "run the same command again; let all processes write to one shared folder",
            )
        measured.append(record)
    return ScoreSummary(
        images=[record.score for record in measured],
        samples=samples,
        scale=settings.scale,
        quality=settings.realism,
        data_set={
            metric.name: compute_merged(metric.data_set, (record.tensors for record in measured))
            for metric in map(quality_metric, settings.realism)
            if metric.data_set
        },
        missing=groups.missing,
        missing_samples=groups.missing_samples,
        missing_images=groups.missing_images,
        samples_sha256=_samples_sha256(groups),
        origin=origin,
        opinions=opinions,
        opinion=opinions.of(_samples_sha256(groups), study_method) if opinions else None,
    )


def _samples_sha256(groups: MatchedSamples) -> str:
    return sha256_of_digests(
        {
            str(SampleName(group.index, number)): digest
            for group in groups.images
            for number, digest in zip(group.numbers, group.digests[1:], strict=True)
        }
    )
