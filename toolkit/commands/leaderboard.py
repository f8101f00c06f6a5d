"""`ntire-sr leaderboard`."""

from pathlib import Path

import click

from ntire_sr.commands.command import Command, option, option_group
from ntire_sr.commands.options import PATH, SCALE, device_option
from ntire_sr.commands.output import Output, output_options


class NamedPath(click.ParamType):
    """A folder or zip with a name, NAME=PATH, or PATH alone, whose name is that of the file without its suffix."""

    name = "[NAME=]PATH"

    def convert(
        self, value: str | tuple[str, Path], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Path]:
        """(name, path)."""
        if isinstance(value, tuple):  # click converts its own defaults twice
            return value
        name, sign, path = value.partition("=")
        if not sign or Path(value).exists():
            return Path(value).resolve().stem, Path(value)
        if not name.strip() or not path or "/" in name:
            self.fail(f"{value!r} is not NAME=PATH, such as ours=samples.zip", param, ctx)
        return name.strip(), Path(path)


@click.command(cls=Command, examples=("ntire-sr leaderboard --hr DIV2K_valid_HR team_a.zip team_b.zip ours=samples --out leaderboard",))
@click.argument("submissions", nargs=-1, required=True, type=NamedPath(), metavar="[NAME=]PATH...")
@option_group(
    "Images and samples",
    option("--hr", type=PATH, required=True, help="Folder of HR images, in the order of the samples' indices."),
    option("--out", "-o", type=PATH, required=True, help="Folder for leaderboard.html, .csv, .tex and .json, and for scores and extracted samples."),
    option("--study", type=PATH, show_default="none", help="Results of a study with people (results.json, or its folder); without it the rank is that in S_n."),
    option("--scale", type=SCALE, show_default="the manifest's, or 4", help="HR pixels per LR pixel along an axis."),
    option("--samples", "-n", type=click.IntRange(min=1), show_default="the manifest's, or the files' up to 10", help="Samples per image to measure."),
    option("--pictures", type=click.IntRange(min=0), default=10, help="Number of images to show, those in which the entries differ most; 0 for none."),
)
@option_group(
    "Measuring",
    option("--lpips-weights", type=PATH, show_default="the package's", help="Another file of AlexNet's weights for LPIPS: .safetensors, or torchvision's .pth."),
    option("--without-lpips", flag_value="--without-lpips was given", default=None, help="Do not measure LPIPS and its diversity; ranks are then those in S_n of MSE."),
    option("--workers", type=click.IntRange(min=1), default=1, help="Number of processes on this machine; the images are divided among them."),
    device_option,
)
@output_options
def leaderboard(
    submissions: tuple[tuple[str, Path], ...], hr: Path, out: Path, study: Path | None, scale: int | None, samples: int | None,
    pictures: int, lpips_weights: Path | None, without_lpips: str | None, workers: int, device: str, output: Output,
) -> None:
    """Verify, score and rank submissions by the challenge's rule.

    Each is a folder of samples or a zip. Ranks are those in S_n, or with --study the mean of the ranks in S_n
    and in the mean opinion rank. An entry that breaks a rule, such as the required LR-PSNR, is listed with its
    reason and not ranked. An interrupted call resumes when it is run again.
    """
    from ntire_sr.evaluation.pages.terminal import print_comparison
    from ntire_sr.submission.leaderboard import ScoreOptions, make_leaderboard

    options = ScoreOptions(scale, samples, device, lpips_weights, without_lpips, workers)
    board = make_leaderboard(submissions, hr, out, study, options, pictures, output.progress())
    output.json(board.as_json())
    if board.comparison:
        print_comparison(board.comparison, output.console(), not_ranked=board.reasons)
    else:
        for name, reason in board.reasons.items():
            output.say(f"{name} is not ranked: {reason}")
    output.say(f"tables{' and page' if board.comparison else ''}: {out}")
