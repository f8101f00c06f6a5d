"""`ntire-sr compare`: compares several scores."""

from pathlib import Path

import click

from ntire_sr.commands.command import Command, option, option_group
from ntire_sr.commands.options import NAMED_FOLDER, PATH
from ntire_sr.commands.output import Output, output_options


@click.command(cls=Command, examples=("ntire-sr compare bicubic=scores/bicubic ours=scores/ours --out compare",))
@click.argument("scores", nargs=-1, required=True, type=NAMED_FOLDER, metavar="NAME=FOLDER...")
@option_group(
    "What is shown",
    option("--published", is_flag=True, help="Also show the methods among the published results of 2021."),
    option("--study", type=PATH, show_default="none", help="Results of a study with people (results.json, or its folder): also show each method's MOR, and the challenge's final rank among them."),
)
@option_group(
    "Page",
    option("--out", "-o", type=PATH, show_default="nothing is written", help="Folder for compare.html, a page with charts, tables and pictures, and compare.json."),
    option("--sr", multiple=True, type=NAMED_FOLDER, show_default="where they were scored", help="Folder of a method's samples for the pictures, as NAME=FOLDER; repeatable."),
    option("--hr", type=PATH, show_default="where they were scored", help="Folder of the HR images for the pictures."),
    option("--csv", "csv_file", type=PATH, show_default="not written", help="File for the table as CSV, with intervals."),
    option("--latex", "latex_file", type=PATH, show_default="not written", help="File for the table as LaTeX."),
    option("--pictures", type=click.IntRange(min=0), default=10, help="Number of images to show, those in which the methods differ most; 0 for none."),
)
@output_options
def compare(scores: tuple[tuple[str, Path], ...], out: Path | None, sr: tuple[tuple[str, Path], ...], hr: Path | None, pictures: int, published: bool, study: Path | None, csv_file: Path | None, latex_file: Path | None, output: Output) -> None:
    """Compare scores of the same HR images, each given a name.

    Prints one table of all methods, with --study in the order of their final rank, S_n for every n, and for each pair of methods the mean difference per image
    with a 95 % bootstrap interval. Anything that makes the comparison unfair is an error or a warning: different
    HR images, scales, networks, versions or numbers of samples.
    """
    from ntire_sr.core.errors import UsageError
    from ntire_sr.core.files import atomic_write, write_csv
    from ntire_sr.evaluation.pages.comparison_page import write_comparison
    from ntire_sr.evaluation.pages.export import comparison_csv, comparison_latex
    from ntire_sr.evaluation.pages.gallery import picture_comparison
    from ntire_sr.evaluation.pages.terminal import print_comparison
    from ntire_sr.evaluation.scoring.load_scores import read_methods
    from ntire_sr.evaluation.scoring.opinion import load_opinions
    from ntire_sr.evaluation.scoring.study_ranks import ranked_comparison

    if out is None and (sr or hr):
        raise UsageError("--sr and --hr are for the pictures, which only --out writes", "give --out FOLDER")
    if len(dict(sr)) < len(sr):
        raise UsageError("--sr names a method twice", "give one folder for each method")
    opinions = load_opinions(study) if study else None
    comparison = ranked_comparison(read_methods(scores), opinions)
    if csv_file is not None:
        write_csv(csv_file, comparison_csv(comparison))
    if latex_file is not None:
        atomic_write(latex_file, comparison_latex(comparison))
    page = None
    if out is not None:
        gallery = picture_comparison(comparison, pictures, dict(sr), hr, output.progress())
        page = write_comparison(comparison, gallery, out, published)
    output.json(comparison.as_json())
    print_comparison(comparison, output.console(), published)
    output.say(f"page: {page}" if page else "a page with charts and pictures: add --out FOLDER")
