"""The `ntire-sr` command: options in, one call, results out.

Each command only reads its options, calls one module and prints. torch takes seconds to import, so
everything that needs it is imported inside the commands. Results go to standard output, progress and
errors to standard error. Exit codes: 0 done, 1 it failed, 2 wrong use, 130 interrupted.
"""

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ntire_sr import __version__
from ntire_sr.errors import Failure, printable
from ntire_sr.handing_in import package, verify
from ntire_sr.layout import DEFAULT_SAMPLES, MOST_SAMPLES, RunFolder
from ntire_sr.options import DEVICE, PATH, SCALE, device_option, run_option

if TYPE_CHECKING:
    from rich.console import Console

@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="ntire-sr")
def cli() -> None:
    """Draw, score and hand in samples of the super-resolution space.

    From photographs to an upload: train, generate --samples 10, score, package. With no options each
    works on the folder runs/latest and on photographs that need no download.
    """


@cli.command()
@click.option("--hr", type=PATH, show_default="embedded photographs", help="Folder of HR images, searched with its subfolders.")
@click.option("--scale", type=SCALE, show_default="4", help="HR pixels per LR pixel along an axis.")
@run_option
@click.option("--model", metavar="NAME", show_default="srgan", help="Model to train: srgan, stochastic.")
@click.option("--steps", type=click.IntRange(min=1), show_default="700 (the preset's)", help="Optimiser steps in all.")
@click.option("--max-minutes", type=click.FloatRange(min=0), show_default="6 (the preset's)", help="Stop with a checkpoint after this time; 0: no limit.")
@click.option("--seed", type=click.IntRange(min=0), show_default="0", help="Of the first weights, the crops and the noise.")
@click.option("--device", type=DEVICE, show_default="auto", help="Where to compute; auto: the GPU where there is one.")
@click.option("--set", "words", multiple=True, metavar="KEY=VALUE", show_default="none", help="Any other setting, such as preset=small, checkpoint_every=50, gamma=0.3; repeatable. --dry-run lists them all.")
@click.option("--resume", is_flag=True, default=False, show_default=True, help="Go on from the last checkpoint; without one, start.")
@click.option("--dry-run", is_flag=True, default=False, show_default=True, help="Print the whole configuration as JSON and stop.")
def train(run: Path, words: tuple[str, ...], resume: bool, dry_run: bool, **options: Any) -> None:
    """Train a generator.

    Writes weights.safetensors, config.json, log.jsonl and checkpoints into the run folder.
    """
    import json

    from ntire_sr.checkpoint import saved_steps
    from ntire_sr.config import parse_words, require
    from ntire_sr.plan import plan_resumed, plan_training
    from ntire_sr.train import is_finished
    from ntire_sr.train import train as run_training

    values: dict[str, Any] = dict(parse_words(words))
    for name, value in options.items():
        if value is not None:
            require(name not in values, f"{name} is given twice, by --set and by its own option", "give it once")
            values[name] = str(value) if isinstance(value, Path) else value
    folder = RunFolder(run)
    goes_on = resume and folder.config.exists()
    plan = plan_resumed(folder, values) if goes_on else plan_training(values)
    if dry_run:
        click.echo(json.dumps(plan.as_json(), indent=1))
        return
    if goes_on and is_finished(folder, plan):
        click.echo(f"{run} is finished: {saved_steps(folder.checkpoints)[0][0]} steps, weights in {folder.weights}")
        return
    outcome = run_training(plan, folder, resume)
    if outcome is None:  # one of torchrun's other processes
        return
    if outcome.why == "finished":
        click.echo(f"finished: {outcome.steps} steps")
    else:
        click.echo(f"stopped ({outcome.why}) after {outcome.steps_done} of {outcome.steps} steps; go on with: ntire-sr train --run {run} --resume")
    click.echo(f"weights: {outcome.weights}")


@cli.command()
@click.option("--lr", type=PATH, show_default="embedded validation photographs", help="Folder of LR images.")
@click.option("--out", type=PATH, show_default="RUN/samples", help="Folder for the samples.")
@click.option("--samples", type=click.IntRange(min=1, max=MOST_SAMPLES), show_default=f"{DEFAULT_SAMPLES}, or with --only as many as there are", help="Samples per LR image.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Each sample's own seed is made from this, the LR image and its number.")
@click.option("--weights", metavar="FILE|NAME", show_default="those of --run; without it runs/latest if finished, else the package's", help="Weights file, stochastic for the package's, or bicubic, which has none.")
@click.option("--scale", type=SCALE, show_default="the weights'", help="HR pixels per LR pixel along an axis.")
@device_option
@run_option
@click.option("--only", multiple=True, metavar="SAMPLE", show_default="all", help="Draw this sample again, such as 000003_sample00007; repeatable.")
@click.option("--tile", metavar="auto|N|0", default="auto", show_default=True, help="Draw large images in tiles of N LR pixels, which changes no sample by more than a grey level; 0: never.")
@click.option("--precision", type=click.Choice(["auto", "float32", "bfloat16"]), default="auto", show_default=True, help="Of the network; auto: bfloat16 on GPUs that compute in it. The projection is always float32.")
@click.option("--projection/--no-projection", default=True, show_default=True, help="Make every sample LR-exact, or write what the network drew.")
@click.option("--allow-unreachable", is_flag=True, default=False, show_default=True, help="Also write samples of LR images that no 8-bit image reduces to.")
@click.option("--overwrite", is_flag=True, default=False, show_default=True, help="Where the folder holds samples of other settings, replace them all; those of the same settings are kept.")
def generate(lr: Path | None, out: Path | None, weights: str | None, scale: str | None, device: str, run: Path, only: tuple[str, ...], tile: str, **options: Any) -> None:
    """Draw samples of every LR image.

    Writes {index:06d}_sample{k:05d}.png and manifest.json. Samples that are there already are kept, so an
    interrupted call goes on. torchrun spreads the images over processes and machines.
    """
    from ntire_sr.data import write_validation
    from ntire_sr.device import choose_device
    from ntire_sr.generate import Request, parse_only, parse_tile
    from ntire_sr.generate import generate as draw_samples
    from ntire_sr.models.table import SHIPPED_MODEL, load_generator
    from ntire_sr.progress import Bar
    from ntire_sr.ranks import place_among_processes
    from ntire_sr.train import state_of_run

    folder = RunFolder(run)
    chosen = choose_device(device)
    if weights is None:
        bare = click.get_current_context().get_parameter_source("run") is ParameterSource.DEFAULT
        state = state_of_run(folder) if bare else "finished"
        weights = str(folder.weights) if state == "finished" else SHIPPED_MODEL
        if state not in ("finished", "absent"):
            click.echo(f"{run} is not finished ({state}): drawing with the package's weights; --run {run} draws with its own", err=True)
    loaded = load_generator(weights, int(scale) if scale else None, chosen)
    request = Request(lr or write_validation(folder, loaded.scale), out or folder.samples, only=parse_only(only), tile=parse_tile(tile), **options)
    with Bar("generate") as done:
        drawn = draw_samples(request, loaded, chosen, done)
    described = loaded.model.name
    if loaded.weights:
        where = "that come with the package: " if weights == SHIPPED_MODEL else ""
        described += f", weights {where}{loaded.weights} ({(loaded.weights_sha256 or '')[:12]}, {loaded.facts.get('step', '?')} steps)"
    number, count = place_among_processes()
    by = f" by process {number + 1} of {count}" if count > 1 else ""
    click.echo(f"{drawn.written} samples written, {drawn.kept} kept{by}, in {request.out}")
    if count > 1 and not drawn.complete:
        click.echo("other processes have not drawn theirs yet; should they die, the same command goes on")
        return
    if drawn.manifest.samples > (request.samples or DEFAULT_SAMPLES) and not only:
        click.echo(f"the folder was begun with {drawn.manifest.samples} samples per image, and has them all")
    click.echo(f"drawn by {described}")
    click.echo(f"worst LR-PSNR: {drawn.worst_db:.2f} dB" + ("" if request.projection else " (without projection)"))
    for text in drawn.unreachable:
        click.echo(f"no 8-bit image reduces to {text}; its samples are marked in the manifest", err=True)


@cli.command()
@click.option("--hr", type=PATH, show_default="RUN/validation/HR", help="Folder of HR images, in the order of the samples' indices.")
@click.option("--sr", type=PATH, show_default="RUN/samples", help="Folder of samples.")
@click.option("--scale", type=SCALE, show_default="the manifest's, or 4", help="HR pixels per LR pixel along an axis.")
@click.option("--samples", type=click.IntRange(min=1), show_default="the manifest's, or 10", help="Samples per image to measure.")
@click.option("--out", type=PATH, show_default="RUN/score", help="Folder for measure.csv, measure_full.csv, their means, score.json, report.html.")
@run_option
@device_option
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Processes on this machine; images are shared out among them.")
@click.option("--lpips-weights", type=PATH, show_default="looked up", help="AlexNet for LPIPS, .safetensors or torchvision's .pth.")
@click.option("--without-lpips", is_flag=True, default=False, show_default=True, help="Leave LPIPS and its diversity out.")
@click.option("--realism", multiple=True, metavar="NAME", show_default="none", help="Also measure a proxy of photo-realism: niqe, log-spectral, patch-frechet, iqa:NAME (with the extra [iqa]); repeatable.")
@click.option("--niqe-model", type=PATH, show_default="the package's", help="Pristine model for niqe, made by fit-niqe.")
@click.option("--skip-missing", is_flag=True, default=False, show_default=True, help="Score the samples that are there; every output says what is missing.")
@click.option("--report/--no-report", "with_report", default=True, show_default=True, help="Write report.html, with pictures of the worst 10 images.")
@click.option("--json", "as_json", is_flag=True, default=False, show_default=True, help="Print JSON in place of the tables.")
@click.option("--strict", is_flag=True, default=False, show_default=True, help="Exit with 1 where a sample is under 45 dB.")
def score(hr: Path | None, sr: Path | None, out: Path | None, run: Path, scale: str | None, without_lpips: bool, as_json: bool, strict: bool, **options: Any) -> None:
    """Measure samples against their HR images as the challenge does.

    LPIPS, diversity S_n for every n, and LR-PSNR, equal to the official scripts'; the calibration of the
    spread; the place among the published results; a page with pictures. A scoring that was interrupted
    goes on where it stopped. torchrun spreads it over machines.
    """
    import json

    from ntire_sr.evaluation.report import print_table
    from ntire_sr.evaluation.session import measure
    from ntire_sr.files import finite
    from ntire_sr.progress import Tasks

    folder = RunFolder(run)
    with Tasks() as done:
        measured = measure(
            hr=hr or folder.validation_hr, sr=sr or folder.samples, out=out or folder.score, scale=int(scale) if scale else None,
            without_lpips="--without-lpips was given" if without_lpips else None, done=done, **options,
        )  # fmt: skip
    if measured is None:  # one of torchrun's other processes
        return
    if as_json:
        click.echo(json.dumps(finite(measured.score.as_json() | {"lpips_missing": measured.lpips_missing, "out": str(measured.out)}), indent=1))
    else:
        if measured.kept:
            click.echo(f"{measured.kept} of {len(measured.score.images)} images had been measured before; their figures were kept")
        print_table(measured.score, _stdout(), measured.lpips_missing)
        click.echo(f"tables: {measured.out}")
        if measured.report:
            click.echo(f"report: {measured.report}")
    if strict and not measured.score.passes:
        sys.exit(1)


@cli.command("fit-niqe")
@click.option("--hr", type=PATH, required=True, help="Folder of photographs, searched with its subfolders.")
@click.option("--out", type=PATH, default=Path("niqe.safetensors"), show_default=True, help="File for the model.")
@click.option("--description", show_default="none", help="Kept with the model: which photographs, and their licence.")
def fit_niqe(hr: Path, out: Path, description: str | None) -> None:
    """Fit NIQE's model of pristine photographs to your own.

    For `ntire-sr score --realism niqe --niqe-model FILE`; a model comes with the package.
    """
    from ntire_sr.evaluation.niqe import fit, save_pristine
    from ntire_sr.layout import list_images
    from ntire_sr.progress import Bar

    paths = list_images(hr, "HR", recursive=True)
    with Bar("fit") as done:
        pristine = fit(paths, description or "", done=lambda count: done(count, len(paths)))
    save_pristine(out, pristine)
    click.echo(f"{pristine.blocks} sharp blocks of {pristine.photographs} photographs: {out}")


@cli.command()
@click.option("--hr", type=PATH, required=True, help="Folder of HR images.")
@click.option("--out", type=PATH, show_default="LRx4 or LRx8 beside the HR folder", help="Folder for the LR images.")
@click.option("--scale", type=SCALE, default="4", show_default=True, help="HR pixels per LR pixel along an axis.")
@click.option("--crop-multiple", type=click.IntRange(min=1), default=8, show_default=True, help="First cut HR sides to multiples of this, as the challenge's script does; 1: keep all.")
def downscale(hr: Path, out: Path | None, scale: str, crop_multiple: int) -> None:
    """Make LR images from HR images with the challenge's bicubic."""
    from ntire_sr.data import make_lr

    target = out or hr.parent / f"LRx{scale}"
    count = make_lr(hr, target, int(scale), crop_multiple)
    click.echo(f"{count} LR images in {target}")


@cli.group()
def data() -> None:
    """Look at training images before they are trained on."""


@data.command("check")
@click.option("--hr", type=PATH, required=True, help="Folder of training images, searched with its subfolders.")
@click.option("--validation", type=PATH, show_default="embedded validation photographs", help="Folder of images that must not be among them.")
@click.option("--patch", type=click.IntRange(min=16), default=64, show_default=True, help="Side of the crops in HR pixels; images without room for one are named.")
@click.option("--json", "as_json", is_flag=True, default=False, show_default=True, help="Print JSON in place of the table.")
def data_check(hr: Path, validation: Path | None, patch: int, as_json: bool) -> None:
    """Check a folder of training images.

    Counts sizes; names unreadable files, equal images and those that look alike, images that are in the
    validation set too, and names of DIV2K validation and test, which the challenge forbids. Exit code 1
    where something is broken or forbidden.
    """
    import json

    from ntire_sr.datacheck import check, print_findings

    findings = check(hr, validation, patch)
    if as_json:
        click.echo(json.dumps(findings.as_json(), indent=1))
    else:
        print_findings(findings, _stdout())
    if not findings.passes:
        sys.exit(1)


@cli.command()
@click.option("--run", type=PATH, default=Path("runs/demo"), show_default=True, help="Run folder of the demonstration.")
@click.option("--max-minutes", type=click.FloatRange(min=0.05), default=5.0, show_default=True, help="For the training.")
@click.option("--steps", type=click.IntRange(min=1), default=700, show_default=True, help="For the training.")
@click.option("--samples", type=click.IntRange(min=1), default=10, show_default=True, help="Samples per image.")
@device_option
def demo(run: Path, max_minutes: float, steps: int, samples: int, device: str) -> None:
    """Train, generate, score and package on the embedded photographs.

    Draws and scores with the weights that come with the package as well, into RUN/shipped. Needs no
    download. Goes on where an earlier call stopped.
    """
    from ntire_sr.demo import demonstrate

    demonstrate(run, steps, max_minutes, samples, device, say=click.echo, console=_stdout())


@cli.command()
@click.option("--json", "as_json", is_flag=True, default=False, show_default=True, help="Print JSON.")
def doctor(as_json: bool) -> None:
    """Show versions, devices, threads and pretrained files."""
    import json

    from ntire_sr.doctor import examine

    facts = examine()
    if as_json:
        click.echo(json.dumps(facts, indent=1))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        click.echo(f"{name:<{width}}  {value}")


def _stdout() -> "Console":
    from rich.console import Console

    # a pipe has no width: tables and paths are not to be broken there
    return Console() if sys.stdout.isatty() else Console(width=200)


cli.add_command(package)
cli.add_command(verify)


def main() -> None:
    """Run the command and turn failures into a message and an exit code."""
    from ntire_sr.files import explain

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        code = _fail("interrupted", 130)
    except KeyboardInterrupt:
        code = _fail("interrupted", 130)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except Failure as failure:
        code = _fail(str(failure), failure.exit_code)
    except BrokenPipeError:
        code = 1
    except RuntimeError as error:
        from ntire_sr.device import is_out_of_memory

        if not is_out_of_memory(error):  # anything else is a defect
            raise
        code = _fail(str(Failure("out of memory", "a smaller batch, patch or network, smaller images, or more memory")), 1)
    except OSError as error:
        code = _fail(str(explain(error, f"{error.filename or 'the operating system refused'}")), 1)
    except MemoryError:
        code = _fail(str(Failure("out of memory", "smaller images, fewer threads, or a machine with more memory")), 1)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(text: str, code: int) -> int:
    click.echo(f"error: {printable(text)}", err=True)
    return code
