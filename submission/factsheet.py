"""The fact sheet that NTIRE requires, as Markdown and LaTeX.

It is filled in from the manifest, the weights and the score. Facts that only the team knows are left blank.
"""

import json
from typing import Any

from ntire_sr.core.errors import is_printable
from ntire_sr.samples.manifest import Manifest, SamplingSettings
from ntire_sr.submission.facts import TEAM, Facts

BLANK = "TO BE FILLED IN"


def sections(facts: Facts) -> list[tuple[str, list[tuple[str, str | None]]]]:
    """Titles of sections, each with its labels and values; None is a blank."""
    team, manifest, config = facts.team, facts.manifest, facts.config

    def of_team(*keys: str) -> list[tuple[str, str | None]]:
        return [(TEAM[key], team.get(key)) for key in keys]

    settings = manifest.settings if manifest else None
    # None for images of another program, about which only the team knows
    drawn_here = settings if settings and not settings.external else None
    device = {True: "a GPU", False: "a CPU", None: "the machine that drew them"}[facts.on_gpu]
    per_image = f"{facts.seconds:.2f} s per sample on {device}" if facts.seconds else None
    steps = facts.training.get("step")
    trained = None
    if steps:
        trained = f"{steps} steps"
        if config:
            trained += f" of {config.get('batch')} crops of {config.get('patch')} px, seed {config.get('seed')}"
    digest = facts.training.get("data_sha256")
    data = f"photographs with the SHA-256 {digest} (pixels, in their order)" if digest else None
    complexity = None
    if facts.operations:
        trunk, sample = facts.operations
        complexity = f"{trunk:,.0f} multiply-adds per SR pixel once per image and {sample:,.0f} for each sample, before projection"
    hyper = None
    if drawn_here:
        hyper = ", ".join(
            f"{name} {json.dumps(value)}" for name, value in sorted(drawn_here.hyper_parameters.items())
        )
    measured = ", ".join(
        f"{label} {facts.score[key]:.4g}"
        for label, key in (
            ("LPIPS", "LPIPS_mean"), ("S_n", "score"), ("calibration r", "r_LPIPS"), ("worst LR-PSNR", "LRPSNR_worst_sample"),
        )
        if isinstance(facts.score.get(key), (int, float))
    )  # fmt: skip
    versions = ", ".join(
        f"{name} {version}" for name, version in (manifest.versions if manifest and drawn_here else {}).items()
    )
    return [
        ("Team", of_team("team", "leader", "members", "affiliation", "user", "code")),
        (
            "Contribution",
            [
                *of_team("title", "description", "diagram"),
                ("Model", f"{settings.model}, scale {settings.scale}" if settings else None),
                ("Weights (SHA-256)", _weights(drawn_here) if drawn_here else None),
                *(
                    [("Code of the network (SHA-256)", settings.code_sha256)]
                    if settings and settings.code_sha256
                    else []
                ),
                ("Samples per image", str(facts.samples)),
                ("Measured by ntire-sr score", measured or None),
            ],
        ),
        (
            "Method",
            [
                ("Total complexity", complexity),
                ("Parameters", _parameters(facts.parameters)),
                ("Hyper-parameters, the same for all samples", hyper),
                ("LR consistency", _consistency(manifest)),
                ("Pre-trained or external models", _external(facts.training)),
                ("Run time", per_image),
            ],
        ),
        (
            "Training",
            [
                ("Data", data),
                ("Data beyond the challenge's training set", "yes" if facts.extra_data else "no"),
                ("Steps", trained),
                *of_team("hardware"),
            ],
        ),
        (
            "Ensembles and fusion",
            [
                ("Ensembles", "none: one model, one set of weights" if drawn_here else None),
                ("Test-time augmentation", "none" if drawn_here else None),
                (
                    "Temperature",
                    f"{drawn_here.temperature:g}, the same for all samples" if drawn_here else None,
                ),
                (
                    "Seeds",
                    f"each sample has its own, derived from {drawn_here.seed}, the LR image and the sample's number"
                    if drawn_here
                    else None,
                ),
            ],
        ),
        (
            "Other",
            [
                ("Language", None if settings and not drawn_here else "Python"),
                ("Platform", versions or None),
                ("Execution", "see REPRODUCE.md in this archive"),
                *of_team("references"),
            ],
        ),
    ]


def _weights(settings: SamplingSettings) -> str:
    if settings.weights_sha256:
        return settings.weights_sha256
    return (
        "none: no file was given to the network" if settings.code_sha256 else "none: the model has no weights"
    )


def _parameters(count: int | None) -> str | None:
    return "none: the model is not a network" if count == 0 else f"{count:,}" if count is not None else None


def _consistency(manifest: Manifest | None) -> str | None:
    if manifest is None:
        return None
    if not manifest.settings.projection:
        return "samples as the network drew them"
    worst = min((record.lr_psnr_db for record in manifest.files.values()), default=float("inf"))
    return f"every sample is projected onto the images that downscale to the LR image; worst LR-PSNR {worst:.2f} dB"


def _external(training: dict[str, Any]) -> str | None:
    features = training.get("features")
    if features is None:
        return None
    losses = {
        "filters": "none: feature losses compare a fixed bank of filters",
        "squeezenet1_1": "SqueezeNet 1.1 (ImageNet) in the losses of the training",
        "vgg19": "VGG-19 (ImageNet) in the losses of the training",
    }.get(str(features), str(features))
    return f"trunk: {training['trunk']}; {losses}" if training.get("trunk") else losses


def blanks(facts: Facts) -> list[str]:
    """Labels of the facts that are left blank."""
    return [label for _, rows in sections(facts) for label, value in rows if value is None]


def as_markdown(facts: Facts) -> str:
    """The fact sheet as Markdown."""
    lines = ["# NTIRE: Learning the Super-Resolution Space, fact sheet", ""]
    for title, rows in sections(facts):
        lines += [f"## {title}", ""]
        lines += [f"* **{label}:** {' '.join((value or f'**[{BLANK}]**').split())}" for label, value in rows]
        lines.append("")
    return "\n".join(lines)


_UNBROKEN = 24  # length of words beyond which LaTeX may break lines between any two characters
_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", '"': "''"}


def _escaped(text: str) -> str:
    """A text with LaTeX's special characters escaped.

    >>> _escaped("50% of a_b")
    '50\\\\% of a\\\\_b'
    """

    def escape(characters: str) -> str:
        characters = "".join(c for c in characters if is_printable(c))
        shown = [_LATEX.get(c, f"\\{c}" if c in "&%$#_{}" else c) for c in characters]
        return (r"\allowbreak{}" if len(characters) > _UNBROKEN else "").join(shown)

    return " ".join(escape(word) for word in text.split())


def as_latex(facts: Facts) -> str:
    """The fact sheet as a LaTeX document."""
    lines = [
        "% pdflatex will do for Latin letters; for names in others use lualatex with a font that has them",
        r"\documentclass{article}", r"\usepackage{iftex}",
        r"\ifPDFTeX\usepackage[utf8]{inputenc}\usepackage[T1]{fontenc}\else\usepackage{fontspec}\fi",
        r"\title{NTIRE: Learning the Super-Resolution Space\\Fact sheet}", r"\date{}", r"\begin{document}", r"\maketitle",
        r"\sloppy",
    ]  # fmt: skip
    for title, rows in sections(facts):
        lines += [rf"\section{{{title}}}", r"\begin{itemize}"]
        for label, value in rows:
            shown = _escaped(value) if value is not None else rf"\textbf{{[{BLANK}]}}"
            lines.append(rf"\item \textbf{{{_escaped(label)}:}} {shown}")
        lines.append(r"\end{itemize}")
    return "\n".join([*lines, r"\end{document}", ""])
