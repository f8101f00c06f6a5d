"""`ntire-sr leaderboard`: verifies, scores and ranks submissions by the challenge's rule.

The challenge ranks by the mean of two ranks, in S_10 and in the mean opinion rank of a human study, among the entries
that reach the required LR-PSNR. Without a study the rank is that in S_10.
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ntire_sr.challenge.names import DEFAULT_SAMPLES, samples_per_image
from ntire_sr.core.errors import NtireSrError, UsageError, ValidationErrors, plural
from ntire_sr.core.files import (
    atomic_write,
    make_folder,
    read_json,
    sha256_file,
    sha256_of_digests,
    write_csv,
    write_json,
)
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.data.lr_images import make_lr
from ntire_sr.evaluation.metrics.declarations import Figure, Values
from ntire_sr.evaluation.pages.comparison_page import comparison_page
from ntire_sr.evaluation.pages.export import comparison_csv, comparison_latex
from ntire_sr.evaluation.pages.gallery import picture_comparison
from ntire_sr.evaluation.pages.page import write_page
from ntire_sr.evaluation.score_folder import score_folder
from ntire_sr.evaluation.scoring.columns import MethodColumn
from ntire_sr.evaluation.scoring.comparison import Comparison, compare
from ntire_sr.evaluation.scoring.load_scores import read_methods
from ntire_sr.evaluation.scoring.opinion import Opinions, final_ranks, load_opinions
from ntire_sr.evaluation.scoring.study_ranks import opinion_column, opinions_by_samples
from ntire_sr.samples.extraction import extract_samples
from ntire_sr.samples.folders import list_images
from ntire_sr.samples.manifest import load_manifest
from ntire_sr.samples.sources import open_submission
from ntire_sr.submission.verify import verify

MOST_REASONS = 3  # problems of an entry that are shown


@dataclass(frozen=True)
class Entry:
    """One submission."""

    name: str
    path: Path  # a folder of samples, or a zip
    score: Path | None  # folder of its score; None if it could not be scored
    problems: tuple[str, ...]  # why it is not ranked; empty if it is

    @property
    def reason(self) -> str:
        """Why it is not ranked, in one line; empty if it is."""
        further = len(self.problems) - MOST_REASONS
        return "; ".join(self.problems[:MOST_REASONS]) + (f"; and {further} more" if further > 0 else "")


@dataclass(frozen=True)
class Leaderboard:
    """The result: all entries, and the comparison of those that could be scored, in the order of their rank."""

    entries: tuple[Entry, ...]
    comparison: Comparison | None  # None if no entry could be scored
    out: Path

    @property
    def not_ranked(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.problems]

    @property
    def reasons(self) -> dict[str, str]:
        """Name -> reason of each entry that is not ranked."""
        return {entry.name: entry.reason for entry in self.not_ranked}

    def as_json(self) -> dict[str, Any]:
        """Everything, for scripts."""
        return {
            "out": str(self.out),
            "entries": [
                {
                    "name": entry.name,
                    "path": str(entry.path),
                    "score": str(entry.score) if entry.score else None,
                    "ranked": not entry.problems,
                    "problems": list(entry.problems),
                }
                for entry in self.entries
            ],
            "comparison": self.comparison.as_json() if self.comparison else None,
        }


@dataclass(frozen=True)
class ScoreOptions:
    """How the entries are scored, see `score_folder`."""

    scale: int | None = None
    samples: int | None = None
    device: str = "auto"
    lpips_weights: Path | None = None
    without_lpips: str | None = None
    workers: int = 1


def make_leaderboard(
    submissions: Sequence[tuple[str, Path]],
    hr: Path,
    out: Path,
    study: Path | None = None,
    options: ScoreOptions | None = None,
    pictures: int = 10,
    progress: Progress = SILENT,
) -> Leaderboard:
    """Verify, score and rank submissions, and write the tables and the page.

    An interrupted call resumes when it is run again: images that were measured and entries that were verified are kept
    as long as their files stay the same.

    Args:
        submissions: (name, folder of samples or zip) of each entry.
        hr: folder of HR images.
        out: folder for leaderboard.html, .csv, .tex and .json, and for the scores and extracted samples of the entries.
        study: results of a study with people that shows these samples; None without one.
        options: how the entries are scored.
        pictures: number of images to show on the page.
        progress: reports how far each step is.

    Raises:
        UsageError: names occur twice, or the entries have different numbers of samples, or the study shows none of the
            samples.
        NtireSrError: the HR images cannot be read.
    """
    names = [name for name, _ in submissions]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise UsageError(f"the name {doubled[0]} occurs twice", "NAME=PATH gives an entry another name")
    options = options or ScoreOptions()
    if options.samples is None:
        options = replace(options, samples=_common_count(submissions, progress))
    opinions = load_opinions(study) if study else None
    entries = []
    for name, path in submissions:
        progress.message(f"{name}: {path}")
        entries.append(_examine(name, path, hr, make_folder(out / "entries" / name), options, progress))
    scored = [(entry.name, entry.score) for entry in entries if entry.score]
    comparison = None
    if scored:
        comparison = _ranked(scored, {entry.name for entry in entries if not entry.problems}, opinions)
    board = Leaderboard(tuple(entries), comparison, out)
    _write(board, pictures, progress)
    return board


def _common_count(submissions: Sequence[tuple[str, Path]], progress: Progress) -> int | None:
    """The samples per image that all submissions have, by their manifests or files; None if none can be read.

    Raises:
        UsageError: the numbers differ.
    """
    counts: dict[str, int] = {}
    for name, path in submissions:
        with suppress(NtireSrError), open_submission(path) as submission:  # else a row with its reason
            manifest = load_manifest(path) if path.is_dir() else None
            if submission.samples:
                counts[name] = manifest.samples if manifest else samples_per_image(submission.samples)
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name} {count}" for name, count in counts.items())
        least = min(counts.values())
        raise UsageError(
            f"the entries have different numbers of samples per image: {listed}",
            f"--samples {least} measures as many of each; --samples {max(counts.values())} does not rank entries with fewer",
        )
    count = next(iter(counts.values()), None)
    if count not in (None, DEFAULT_SAMPLES):
        progress.message(
            f"note: the entries have {plural(count, 'sample')} per image, where the challenge asks for "
            f"{DEFAULT_SAMPLES} (--samples sets another number)"
        )
    return count


def _examine(name: str, path: Path, hr: Path, folder: Path, options: ScoreOptions, progress: Progress) -> Entry:
    """Verify and score one submission; what is wrong with it becomes its reason."""
    problems: list[str] = []
    score = None
    try:
        sr = extract_samples([path], folder / "samples", progress) if path.is_file() else path
        measured = score_folder(
            hr,
            sr,
            folder / "score",
            scale=options.scale,
            samples=options.samples,
            device=options.device,
            lpips_weights=options.lpips_weights,
            without_lpips=options.without_lpips,
            workers=options.workers,
            with_report=False,
            progress=progress,
        )
        assert measured
        score = measured.out
        scale, samples = measured.score.scale, measured.score.samples
        problems += _verify(path, sr, _lr_of(hr, folder.parent.parent, scale), folder, scale, samples, progress)
    except ValidationErrors as error:
        problems += error.problems
    except NtireSrError as error:
        problems.append(error.message)
    return Entry(name, path, score, tuple(problems))


def _lr_of(hr: Path, out: Path, scale: int) -> Path:
    """The folder of the official LR images of the HR images, made if it is not there or of other images."""
    lr, record = out / f"LRx{scale}", out / f"LRx{scale}.json"
    digests = {path.name: sha256_file(path) for path in list_images(hr, "HR")}
    if not (record.is_file() and read_json(record, "HR images") == digests):
        for path in lr.glob("*.png"):
            path.unlink()
        make_lr(hr, lr, scale)
        write_json(record, digests)
    return lr


def _verify(
    path: Path, sr: Path, lr: Path, folder: Path, scale: int, samples: int, progress: Progress
) -> list[str]:
    """The problems that `verify` finds; those of an earlier call if no file has changed."""
    files = {file.name: sha256_file(file) for folder in (sr, lr) for file in sorted(folder.glob("*.png"))}
    key = sha256_of_digests(files | {"scale": str(scale), "samples": str(samples)})
    record = folder / "verify.json"
    earlier = read_json(record, "problems of a submission") if record.is_file() else {}
    if earlier.get("key") != key:
        result = verify([path], lr, samples=samples, scale=scale, progress=progress)
        earlier = {"key": key, "problems": result.problems}
        write_json(record, earlier)
    return list(earlier["problems"])


def _ranked(scored: Sequence[tuple[str, Path]], eligible: set[str], opinions: Opinions | None) -> Comparison:
    """The comparison in the order of the ranks, with ranks as the first column."""
    methods = read_methods(scored, least=1)
    comparison = compare(methods)
    columns = [opinion_column(opinions_by_samples(methods, opinions))] if opinions else []
    mor = {name: value for column in columns for name, value in column.values.items() if name in eligible}
    diversity = comparison.values.get("score") or comparison.values.get("MSE_score", [])
    s_n = {
        method.name: value.value
        for method, value in zip(methods, diversity, strict=False)
        if method.name in eligible and not math.isnan(value.value)
    }
    ranks = _ranks(s_n, mor if opinions else None)
    order = sorted(methods, key=lambda method: ranks.get(method.name, math.inf))
    rank = Figure(name="rank", label="rank", direction="lower", digits=1 if opinions else 0, values=Values)
    return compare(order).with_columns(columns, first=[MethodColumn(rank, ranks)])


def _ranks(s_n: Mapping[str, float], mor: Mapping[str, float] | None) -> dict[str, float]:
    """The challenge's final rank of the entries that have both figures; without a study the rank in S_n."""
    if mor is None:
        return {name: 1.0 + sum(higher > value for higher in s_n.values()) for name, value in s_n.items()}
    both = s_n.keys() & mor.keys()
    return final_ranks({name: s_n[name] for name in both}, {name: mor[name] for name in both})


def _write(board: Leaderboard, pictures: int, progress: Progress) -> None:
    """Write the page and the tables."""
    write_json(board.out / "leaderboard.json", board.as_json())
    refused = board.reasons
    write_csv(board.out / "leaderboard.csv", comparison_csv(board.comparison, refused))
    atomic_write(board.out / "leaderboard.tex", comparison_latex(board.comparison, refused))
    if board.comparison is None:
        return
    gallery = picture_comparison(board.comparison, pictures, progress=progress)
    page = comparison_page(board.comparison, gallery, not_ranked=refused)
    page = replace(
        page,
        command="leaderboard",
        title=f"{plural(len(board.entries), 'team')}; {page.title}",
        result_files=["leaderboard.json", "leaderboard.csv", "leaderboard.tex"],
    )
    write_page(board.out / "leaderboard.html", page)
