"""`ntire-sr score`, and `ntire-sr fit-niqe`, which fits a NIQE model for it."""

import sys
from pathlib import Path
from typing import Any

import click

from ntire_sr.commands.command import Command, option, option_group
from ntire_sr.commands.options import PATH, SCALE, device_option, run_option, samples_folder
from ntire_sr.commands.output import Output, output_options
from ntire_sr.core.run_folder import RunFolder, results_path


@click.command(cls=Command, examples=("ntire-sr score --hr DIV2K_valid_HR --sr samples --out score",))
@option_group(
    "Images and samples",
    option("--hr", type=PATH, show_default="RUN/validation/HR", help="Folder of HR images, in the order of the samples' indices."),
    option("--sr", type=PATH, show_default="RUN/samples", help="Folder of samples, or a zip, which is extracted to the folder of --out."),
    option("--out", "-o", type=PATH, show_default="RUN/score, or SR_score next to samples that are not the run's", help="Folder for measure.csv, measure_full.csv, their means, score.json, report.html."),
    run_option,
    option("--scale", type=SCALE, show_default="the manifest's, or 4", help="HR pixels per LR pixel along an axis."),
    option("--samples", "-n", type=click.IntRange(min=1), show_default="the manifest's, or the files' up to 10", help="Samples per image to measure."),
    option("--lr-names", metavar="PATTERN", show_default="found by itself", help="How the LR images are named that samples with a manifest were drawn from: {stem} stands for the HR image's name without its suffix, such as {stem}_small."),
    option("--skip-missing", is_flag=True, help="Score the samples that exist; every output lists what is missing."),
)
@option_group(
    "What is measured",
    option("--lpips-weights", type=PATH, show_default="the package's", help="Another file of AlexNet's weights for LPIPS: .safetensors, or torchvision's .pth."),
    option("--without-lpips", flag_value="--without-lpips was given", default=None, help="Do not measure LPIPS and its diversity."),
    option("--realism", multiple=True, metavar="NAME", show_default="none", help="Also measure a quality metric, an estimate of photo-realism: niqe, log-spectral, patch-frechet, iqa:NAME (with the extra [iqa]); repeatable."),
    option("--distortion", is_flag=True, help="Also measure PSNR and SSIM, over RGB and luma, of each sample and of the samples' mean; takes longer."),
    option("--border", type=click.IntRange(min=0), show_default="the scale", help="Width in pixels of the border that PSNR and SSIM leave out."),
    option("--niqe-model", type=PATH, show_default="the package's", help="NIQE's model of pristine photographs, as fit-niqe writes it."),
    option("--study", type=PATH, show_default="none", help="Results of a study with people (results.json, or its folder): also show MOR and the challenge's final rank."),
    option("--study-method", metavar="NAME", show_default="that with these samples", help="The samples' name in that study."),
)
@option_group(
    "Computing",
    device_option,
    option("--workers", type=click.IntRange(min=1), default=1, former="--jobs", help="Number of processes on this machine; the images are divided among them."),
)
@option_group(
    "Output",
    option("--report/--no-report", "with_report", default=True, help="Write report.html, with pictures of the worst 10 images."),
    option("--exit-code", is_flag=True, former="--strict", help="Exit with code 1 if a sample is under 45 dB, as verify does."),
)
@output_options
def score(
    hr: Path | None, sr: Path | None, out: Path | None, run: Path, scale: int | None, samples: int | None, lr_names: str | None, skip_missing: bool,
    lpips_weights: Path | None, without_lpips: str | None, realism: tuple[str, ...], distortion: bool, border: int | None, niqe_model: Path | None, study: Path | None,
    study_method: str | None, device: str, workers: int, with_report: bool, exit_code: bool, output: Output,
) -> dict[str, Any] | None:
    """Measure samples against HR images as the challenge does.

    Measures LPIPS, diversity S_n for every n, and LR-PSNR, equal to the official scripts', and the calibration
    of the spread. Shows the place among the published results, and writes a page with pictures. An interrupted
    scoring resumes when the same command is run again. torchrun distributes the images over machines.
    """
    from ntire_sr.evaluation.pages.terminal import print_score
    from ntire_sr.evaluation.score_folder import score_folder

    folder = RunFolder(run)
    sr = samples_folder(sr, folder)
    measured = score_folder(
        hr=hr or folder.validation_hr,
        sr=sr,
        out=out or results_path(sr, folder, folder.score, "_score"),
        scale=scale,
        samples=samples,
        device=device,
        lpips_weights=lpips_weights,
        without_lpips=without_lpips,
        realism=realism,
        niqe_model=niqe_model,
        distortion=distortion,
        border_px=border,
        skip_missing=skip_missing,
        workers=workers,
        with_report=with_report,
        study=study,
        study_method=study_method,
        lr_names=lr_names,
        progress=output.progress(),
    )
    if measured is None:  # one of torchrun's other processes
        return None
    result = output.json(measured.score.as_json() | {"lpips_missing": measured.lpips_missing, "out": str(measured.out)})
    if measured.kept:
        output.say(f"{measured.kept} of {len(measured.score.images)} images had been measured before; their figures were kept")
    print_score(measured.score, output.console(), measured.lpips_missing)
    output.say(f"tables: {measured.out}")
    if measured.report:
        output.say(f"report: {measured.report}")
    if exit_code and not measured.score.passes:
        sys.exit(1)
    return result


@click.command("fit-niqe", cls=Command, examples=('ntire-sr fit-niqe --hr my_photos --out niqe.safetensors --description "my photographs, CC0"',))
@option_group(
    "Photographs and model",
    option("--hr", type=PATH, required=True, help="Folder of photographs, searched with its subfolders."),
    option("--out", "-o", type=PATH, default=Path("niqe.safetensors"), help="File for the model."),
    option("--description", show_default="none", help="Description to store in the model: which photographs, and their licence."),
)
@output_options
def fit_niqe(hr: Path, out: Path, description: str | None, output: Output) -> None:
    """Fit NIQE's model of pristine photographs to your own.

    `ntire-sr score --realism niqe --niqe-model FILE` uses the file. Without --niqe-model it uses the package's.
    """
    from ntire_sr.evaluation.metrics.niqe import fit, save_pristine
    from ntire_sr.samples.folders import list_images

    progress = output.progress()
    pristine = fit(list_images(hr, "HR", recursive=True, progress=progress), description or "", progress=progress)
    save_pristine(out, pristine)
    output.say(f"{pristine.blocks} sharp blocks of {pristine.photographs} photographs: {out}")
    output.json({"out": str(out), "blocks": pristine.blocks, "photographs": pristine.photographs})
