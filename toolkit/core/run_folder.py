"""The run folder: where train, generate, score and package write their results."""

from dataclasses import dataclass
from pathlib import Path

DEFAULT_RUN = Path("runs/latest")


@dataclass(frozen=True)
class RunFolder:
    """Paths of the results of one run."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.json"

    @property
    def log(self) -> Path:
        return self.path / "log.jsonl"

    @property
    def training_page(self) -> Path:
        return self.path / "training.html"

    @property
    def previews(self) -> Path:
        return self.path / "previews"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"

    @property
    def weights(self) -> Path:
        return self.path / "weights.safetensors"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def validation_hr(self) -> Path:
        return self.path / "validation" / "HR"

    def validation_lr(self, scale: int) -> Path:
        """Folder of the LR images of one scale; each scale has its own."""
        return self.path / "validation" / f"LRx{scale}"

    @property
    def samples(self) -> Path:
        return self.path / "samples"

    @property
    def view(self) -> Path:
        return self.path / "view.html"

    @property
    def score(self) -> Path:
        return self.path / "score"

    @property
    def archive(self) -> Path:
        return self.path / "submission.zip"


def results_path(sr: Path, run: RunFolder, own: Path, ending: str) -> Path:
    """Default path of results about a folder of samples: `own`, a path of the run, if the samples are the run's.

    Otherwise next to the samples, so that the results of one folder never replace those of another.

    >>> run = RunFolder(Path("runs/latest"))
    >>> results_path(Path("runs/latest/samples"), run, run.score, "_score").as_posix()
    'runs/latest/score'
    >>> results_path(Path("theirs/SR"), run, run.score, "_score").as_posix()
    'theirs/SR_score'
    """
    if sr.resolve() == run.samples.resolve():
        return own
    named = sr if sr.name not in ("", "..") else sr.resolve()
    return named.with_name(f"{named.stem if named.is_file() else named.name}{ending}")
