"""Computing the results of a study from its folder, and writing them."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from ntire_sr.core.errors import NtireSrError, UsageError, require
from ntire_sr.core.files import make_folder, read_json, write_csv, write_json
from ntire_sr.evaluation.scoring.opinion import FILE_NAME
from ntire_sr.evaluation.scoring.summary import CHALLENGE_SAMPLES
from ntire_sr.study.answers import read_answers
from ntire_sr.study.folder import Study, StudyFolder, load_study
from ntire_sr.study.rankings import answers_csv
from ntire_sr.study.report import write_page
from ntire_sr.study.serving import INSTALL
from ntire_sr.study.standings import StudyResults, summarise


def study_results(
    path: Path,
    out: Path,
    csv_file: Path | None = None,
    scores: Sequence[tuple[str, Path]] = (),
    keep_all: bool = False,
    seed: int = 0,
) -> StudyResults:
    """Compute the results of a study and write `results.json` and `results.html`.

    Args:
        path: folder of the study; only read.
        out: folder for the results.
        csv_file: file for all answers; None for none.
        scores: (method, folder that `ntire-sr score` wrote), for S_10.
        keep_all: whether raters who failed a check count.
        seed: of the bootstrap.

    Raises:
        NtireSrError: nobody has answered, or evalica is not installed.
        UsageError: a score is of no method of the study.
    """
    try:
        import_module("evalica")  # before the answers are read
    except ModuleNotFoundError as error:
        raise NtireSrError(f"`study results` needs evalica: {error.name} is not installed", INSTALL) from error
    folder = StudyFolder(path)
    study, digest = load_study(folder)
    diversity = _diversity(study, scores)
    raters, answers = read_answers(folder.answers, digest)
    results = summarise(
        study,
        digest,
        raters,
        answers,
        diversity,
        keep_all,
        seed,
        make_folder(out) / FILE_NAME,
        out / folder.page.name,
    )
    write_json(results.written, results.as_json())
    write_page(results.page, results, folder)
    if csv_file:
        write_csv(csv_file, answers_csv(study, raters, answers))
    return results


def _diversity(study: Study, scores: Sequence[tuple[str, Path]]) -> dict[str, float]:
    """S_10 of the methods whose scores were given."""
    diversity = {}
    for name, folder in scores:
        names = [method.name for method in study.methods]
        require(name in names, f"--score {name}: the study has no such method", ", ".join(names))
        file = folder / "score.json" if folder.is_dir() else folder
        try:
            curve = read_json(file, "score")["curves"]["LPIPS_score"]
            diversity[name] = float(curve[CHALLENGE_SAMPLES - 1])
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise UsageError(
                f"--score {name}: {file} holds no S_10 of LPIPS",
                "score 10 samples per image with LPIPS, or leave --score out",
            ) from error
    return diversity
