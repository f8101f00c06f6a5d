"""`ntire-sr study make`, `serve` and `results`: a study with people, from samples to mean opinion ranks."""

from pathlib import Path

import click

from ntire_sr.commands.command import Command, Group, option, option_group
from ntire_sr.commands.options import NAMED_FOLDER, PATH, SCALE
from ntire_sr.commands.output import Output, output_options
from ntire_sr.core.errors import plural


@click.group(cls=Group)
def study() -> None:
    """Let people rank samples by how real they look."""


@study.command(cls=Command, examples=("ntire-sr study make --hr DIV2K_valid_HR --sr mine=samples --sr baseline=other_samples --out study",))
@option_group(
    "Images and samples",
    option("--hr", type=PATH, required=True, help="Folder of HR images, in the order of the samples' indices."),
    option("--sr", type=NAMED_FOLDER, metavar="NAME=FOLDER", multiple=True, required=True, help="A method's name and its folder of samples; once for each method, up to 8."),
    option("--out", "-o", type=PATH, required=True, help="Folder for the study: new or empty."),
    option("--scale", type=SCALE, show_default="the manifests', or 4", help="HR pixels per LR pixel along an axis."),
)
@option_group(
    "Places",
    option("--places", type=click.IntRange(min=1, max=1000), default=30, help="Number of places to rank."),
    option("--size", type=click.IntRange(min=16, max=1024), default=160, help="Side of a place in HR pixels."),
    option("--texture", type=click.FloatRange(min=0), default=3.0, help="Least mean difference of a place's neighbouring pixels, in grey levels; 0 allows any place."),
    option("--spread/--no-spread", default=True, help="Take places from each image in turn; without, every place is equally likely."),
    option("--seed", type=click.IntRange(min=0), default=0, help="Random seed for the places and the samples."),
)
@option_group(
    "What raters see",
    option("--check", type=click.IntRange(min=0, max=100), default=4, help="Number of further places that show bicubic against HR, to find raters who do not look."),
    option("--lr/--no-lr", default=False, help="Show the LR image of a place next to its candidates."),
    option("--mode", type=click.Choice(["either", "full", "pairs"]), default="either", help="Raters rank all candidates of a place, or two of them; either lets each rater choose."),
)
@output_options
def make(
    hr: Path, sr: tuple[tuple[str, Path], ...], out: Path, scale: int | None, places: int, size: int, texture: float,
    spread: bool, seed: int, check: int, lr: bool, mode: str, output: Output,
) -> None:
    """Make a study: places to rank, with a sample of each method.

    Cuts places out of the images. The HR image is one more candidate. Everything that a rater sees is in the folder, under names that do not
    reveal the method. The same input gives the same study.
    """
    from ntire_sr.study.make import make_study

    made = make_study(
        hr=hr,
        sr=sr,
        out=out,
        places=places,
        size=size,
        check=check,
        seed=seed,
        scale=scale,
        lr=lr,
        texture=texture,
        spread=spread,
        mode=mode,
        progress=output.progress(),
    )
    ranked, checks = (len(made.study.of_kind(kind)) for kind in ("place", "check"))
    output.json({"out": str(made.folder.path), "places": ranked, "checks": checks, "images": made.images, "candidates": list(made.study.names), "pictures": made.pictures, "is_new": made.is_new})
    output.say(f"{plural(ranked, 'place')} to rank and {plural(checks, 'check')}, of {plural(made.images, 'image')}; candidates: {', '.join(made.study.names)}")
    output.say(f"{made.pictures} pictures, {made.bytes / 1e6:.1f} MB, in {made.folder.path}{'' if made.is_new else ' (this study was there already)'}")
    output.say(f"next: ntire-sr study serve {made.folder.path}")


@study.command(cls=Command, examples=("ntire-sr study serve study", "ntire-sr study serve study --host 0.0.0.0 --port 8000"))
@click.argument("path", type=PATH, metavar="STUDY")
@option_group(
    "Link",
    option("--host", default="127.0.0.1", help="Address to listen on (0.0.0.0: all). If other machines can reach it, the link contains a token."),
    option("--port", type=click.IntRange(min=0, max=65535), default=0, help="Port to listen on; 0 takes the last one of this study, or any free one."),
    option("--public-url", metavar="URL", show_default="that of --host and --port", help="Address that raters open, if a web server (HTTPS, another name or port) forwards to this one, such as https://lab.edu/study."),
    option("--token", show_default="none on this machine, else made once", help="Token that the link must contain: 8 to 64 letters, digits, - or _."),
)
@output_options
def serve(path: Path, host: str, port: int, public_url: str | None, token: str | None, output: Output) -> None:
    """Serve a study to the browsers of its raters, until Ctrl-C.

    An answer is acknowledged once it is on disk: neither kill -9 nor a power cut loses it. Needs the extra
    [study].
    """
    from ntire_sr.study.serving import serve_study

    def started(link: str) -> None:
        output.json({"link": link})
        output.say(f"raters open: {link}")
        output.say("Ctrl-C ends; answers are kept, and the same command resumes")

    ended = serve_study(path, host, port, token, started, public_url, output.note)
    output.say(f"{plural(ended.answers, 'answer')} of {plural(ended.raters, 'rater')} in {path}; next: ntire-sr study results {path}")


@study.command(cls=Command, examples=("ntire-sr study results study --score mine=score --score baseline=other_score",))
@click.argument("path", type=PATH, metavar="STUDY")
@option_group(
    "Results",
    option("--out", "-o", type=PATH, show_default="STUDY", help="Folder for results.json and results.html."),
    option("--csv", "csv_file", type=PATH, show_default="none", help="Also write every answer to this file: a row per rater, place and candidate."),
    option("--score", "scores", type=NAMED_FOLDER, metavar="NAME=FOLDER", multiple=True, show_default="none", help="A method's name and the folder that `score` wrote, for S_10 and the challenge's final rank; once for each method."),
)
@option_group(
    "Raters",
    option("--keep-all", is_flag=True, help="Keep the answers of raters who failed a check."),
    option("--seed", type=click.IntRange(min=0), default=0, help="Random seed of the bootstrap."),
)
@output_options
def results(
    path: Path, out: Path | None, csv_file: Path | None, scores: tuple[tuple[str, Path], ...], keep_all: bool, seed: int, output: Output,
) -> None:
    """Compute each method's mean opinion rank (MOR).

    Prints MOR with 95 % intervals, first places, pairwise wins with Bradley-Terry strengths, agreement, raters who
    failed a check, and the most disputed places; writes a page with pictures. It can be run while the study is
    served. Needs the extra [study].
    """
    from ntire_sr.study.report import print_results
    from ntire_sr.study.results import study_results

    computed = study_results(path, out or path, csv_file, scores, keep_all, seed)
    output.json(computed.as_json())
    print_results(computed, output.console())
    output.say(f"results: {computed.written}")
    output.say(f"report: {computed.page}")
    if csv_file:
        output.say(f"answers: {csv_file}")
