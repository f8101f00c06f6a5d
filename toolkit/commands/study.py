"""`ntire-sr study make`, `serve` and `results`: a study with people, from samples to mean opinion ranks."""

from pathlib import Path
from typing import Any

import click

from ntire_sr.commands.command import Command, Group
from ntire_sr.commands.options import NAMED_FOLDER, PATH, SCALE
from ntire_sr.commands.output import Output, output_options
from ntire_sr.core.errors import plural


@click.group(cls=Group)
def study() -> None:
    """Let people rank samples by how real they look."""


@study.command(
    cls=Command,
    groups={
        "Images and samples": ("hr", "sr", "out", "scale"),
        "Places": ("places", "size", "texture", "spread", "seed"),
        "What raters see": ("check", "lr", "mode"),
        "Output": ("json", "quiet"),
    },
    examples=("ntire-sr study make --hr DIV2K_valid_HR --sr mine=samples --sr baseline=other_samples --out study",),
)
@click.option("--hr", type=PATH, required=True, help="Folder of HR images, in the order of the samples' indices.")
@click.option("--sr", type=NAMED_FOLDER, metavar="NAME=FOLDER", multiple=True, required=True, help="A method's name and its folder of samples; once for each method, up to 8.")
@click.option("--out", type=PATH, required=True, help="Folder for the study: new or empty.")
@click.option("--places", type=click.IntRange(min=1, max=1000), default=30, show_default=True, help="Number of places to rank.")
@click.option("--size", type=click.IntRange(min=16, max=1024), default=160, show_default=True, help="Side of a place in HR pixels.")
@click.option("--check", type=click.IntRange(min=0, max=100), default=4, show_default=True, help="Number of further places that show bicubic against HR, to tell who is not looking.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Random seed for the places and the samples.")
@click.option("--scale", type=SCALE, show_default="the manifests', or 4", help="HR pixels per LR pixel along an axis.")
@click.option("--lr/--no-lr", default=False, show_default=True, help="Show the LR image of a place beside its candidates.")
@click.option("--texture", type=click.FloatRange(min=0), default=3.0, show_default=True, help="Least mean difference of a place's neighbouring pixels, in grey levels; 0 allows any place.")
@click.option("--spread/--no-spread", default=True, show_default=True, help="Take places from each image in turn; without, every place is equally likely.")
@click.option("--mode", type=click.Choice(["either", "full", "pairs"]), default="either", show_default=True, help="Raters rank all candidates of a place, or two of them; either lets each rater choose.")
@output_options
def make(scale: str | None, output: Output, **options: Any) -> None:
    """Make a study: cut places out of the images, with one sample of each method at each.

    The HR image takes part as one more candidate. Everything that a rater sees is in the folder, under names
    that betray nothing; the same input gives the same study.
    """
    from ntire_sr.study.make import make_study

    made = make_study(scale=int(scale) if scale else None, progress=output.progress(), **options)
    places, checks = (len(made.study.of_kind(kind)) for kind in ("place", "check"))
    output.json({"out": str(made.folder.path), "places": places, "checks": checks, "images": made.images, "candidates": list(made.study.names), "pictures": made.pictures, "is_new": made.is_new})
    output.say(f"{plural(places, 'place')} to rank and {plural(checks, 'check')}, of {plural(made.images, 'image')}; candidates: {', '.join(made.study.names)}")
    output.say(f"{made.pictures} pictures, {made.bytes / 1e6:.1f} MB, in {made.folder.path}{'' if made.is_new else ' (this study was there already)'}")
    output.say(f"next: ntire-sr study serve {made.folder.path}")


@study.command(
    cls=Command,
    groups={"Link": ("host", "port", "token"), "Output": ("json", "quiet")},
    examples=("ntire-sr study serve study", "ntire-sr study serve study --host 0.0.0.0 --port 8000"),
)
@click.argument("path", type=PATH, metavar="STUDY")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; with another than this machine's own (0.0.0.0: all) the link holds a token.")
@click.option("--port", type=click.IntRange(min=0, max=65535), default=0, show_default=True, help="Port to listen on; 0 takes the last one of this study, or any free one.")
@click.option("--token", show_default="none on this machine, else made once", help="Token that the link must hold: 8 to 64 letters, digits, - or _.")
@output_options
def serve(path: Path, host: str, port: int, token: str | None, output: Output) -> None:
    """Serve a study to the browsers of its raters, until Ctrl-C.

    An answer is acknowledged when it is on the disk; neither kill -9 nor a power cut loses it. Needs the
    extra [study].
    """
    from ntire_sr.study.serving import serve_study

    def started(link: str) -> None:
        output.json({"link": link})
        output.say(f"raters open: {link}")
        output.say("Ctrl-C ends; answers are kept, and the same command goes on")

    ended = serve_study(path, host, port, token, started)
    output.say(f"{plural(ended.answers, 'answer')} of {plural(ended.raters, 'rater')} in {path}; next: ntire-sr study results {path}")


@study.command(
    cls=Command,
    groups={
        "Results": ("out", "csv", "score"),
        "Raters": ("keep-all", "seed"),
        "Output": ("json", "quiet"),
    },
    examples=("ntire-sr study results study --score mine=score --score baseline=other_score",),
)
@click.argument("path", type=PATH, metavar="STUDY")
@click.option("--out", type=PATH, show_default="STUDY", help="Folder for results.json and results.html.")
@click.option("--csv", "csv_file", type=PATH, show_default="none", help="Also write every answer to this file: a row per rater, place and candidate.")
@click.option("--score", "scores", type=NAMED_FOLDER, metavar="NAME=FOLDER", multiple=True, show_default="none", help="A method's name and the folder that `score` wrote, for S_10 and the challenge's final rank; once for each method.")
@click.option("--keep-all", is_flag=True, default=False, show_default=True, help="Keep the answers of raters who failed a check.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Random seed of the bootstrap.")
@output_options
def results(path: Path, out: Path | None, csv_file: Path | None, output: Output, **options: Any) -> None:
    """Compute the mean opinion rank of each method, and what else the answers tell.

    MOR with 95 % intervals, first places, pairwise wins with Bradley-Terry strengths, agreement, raters who
    failed a check, the most disputed places; and a page with pictures. Also while the study is served. Needs
    the extra [study].
    """
    from ntire_sr.study.report import print_results
    from ntire_sr.study.results import study_results

    found = study_results(path, out or path, csv_file, **options)
    output.json(found.as_json())
    print_results(found, output.console())
    output.say(f"results: {found.written}")
    output.say(f"report: {found.page}")
    if csv_file:
        output.say(f"answers: {csv_file}")
