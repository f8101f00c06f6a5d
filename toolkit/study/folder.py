"""The folder of a study: what is in `study.json`, and where the other files lie."""

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ntire_sr.core.errors import NtireSrError, UsageError, ValidationErrors
from ntire_sr.core.files import read_json, sha256_bytes, sha256_file

FORMAT = 1
HR = "HR"  # the HR image among the candidates
BICUBIC, BETWEEN = (
    "bicubic",
    "between",
)  # candidates of trials that are no places: enlarged LR, and its mean with HR
MODES = ("full", "pairs")
DIGEST = re.compile(r"[0-9a-f]{64}")
TRIAL_ID = re.compile(r"[0-9a-f]{12}")

Kind = Literal["place", "check", "practice"]


@dataclass(frozen=True)
class Method:
    """A method of the study."""

    name: str
    samples_sha256: str  # over all its sample files, see `files.sha256_of_digests`
    samples: int  # number of its sample files


@dataclass(frozen=True)
class Place:
    """A place of an image with its candidates."""

    id: str  # says nothing about the kind
    kind: Kind  # "check": bicubic against HR; "practice": does not count
    image: str  # name of the HR image
    top: int  # in pixels
    left: int
    candidates: dict[str, str]  # method, `HR` or another name -> SHA-256 of its picture
    lr: str | None  # SHA-256 of the LR picture, if it is shown

    @property
    def method_of(self) -> dict[str, str]:
        """SHA-256 of a picture -> whose it is."""
        return {digest: method for method, digest in self.candidates.items()}


@dataclass(frozen=True)
class Study:
    """What raters see, and how it was chosen."""

    seed: int
    scale: int
    size: int  # side of a place in HR pixels
    texture: float  # least mean difference of neighbouring pixels, in grey levels
    spread: bool  # whether places were taken from each image in turn
    mode: str  # "full", "pairs", or "either": the rater chooses
    hr_sha256: str  # over the HR files
    methods: tuple[Method, ...]
    places: tuple[Place, ...]

    def of_kind(self, kind: Kind) -> list[Place]:
        """The places of one kind."""
        return [place for place in self.places if place.kind == kind]

    @property
    def names(self) -> list[str]:
        """Names of the candidates of a place: the methods, then `HR`."""
        return [*(method.name for method in self.methods), HR]

    @property
    def pictures(self) -> set[str]:
        """SHA-256 of every picture."""
        return {
            digest
            for place in self.places
            for digest in (*place.candidates.values(), place.lr)
            if digest is not None
        }

    def as_json(self) -> dict[str, Any]:
        """The content of `study.json`."""
        return {"format": FORMAT, **asdict(self)}


@dataclass(frozen=True)
class StudyFolder:
    """Paths of a study's files."""

    path: Path

    @property
    def study(self) -> Path:
        return self.path / "study.json"

    @property
    def images(self) -> Path:
        return self.path / "images"

    def picture(self, digest: str) -> Path:
        """The file of a picture."""
        return self.images / f"{digest}.png"

    @property
    def answers(self) -> Path:
        return self.path / "answers.sqlite"

    @property
    def lock(self) -> Path:
        return self.path / "lock"

    @property
    def serving(self) -> Path:
        return self.path / "serving.json"

    @property
    def results(self) -> Path:
        return self.path / "results.json"

    @property
    def page(self) -> Path:
        return self.path / "results.html"


def load_study(folder: StudyFolder) -> tuple[Study, str]:
    """Read and check `study.json`.

    Returns:
        The study, and the SHA-256 of the file, to which answers belong.

    Raises:
        UsageError: there is none.
        NtireSrError: it is damaged, or of another version.
    """
    if not folder.study.is_file():
        raise UsageError(f"{folder.path} holds no study (study.json)", "make one with `ntire-sr study make`")
    found = read_json(folder.study, "study")
    what = f"the study {folder.study}"
    if not isinstance(found, dict) or found.pop("format", None) != FORMAT:
        raise NtireSrError(f"{what} is of another version", "make it again with this version")
    try:
        study = Study(
            **{
                **found,
                "methods": tuple(Method(**each) for each in found["methods"]),
                "places": tuple(Place(**each) for each in found["places"]),
            }
        )
        for place in study.places:
            digests = [*place.candidates.values(), *([place.lr] if place.lr is not None else [])]
            # these become names of files
            if not TRIAL_ID.fullmatch(place.id) or not all(map(DIGEST.fullmatch, digests)):
                raise ValueError(f"place {place.id!r}")
            if place.kind == "place" and set(place.candidates) != set(study.names):
                raise ValueError(f"the candidates of place {place.id}")
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise NtireSrError(
            f"{what} is damaged ({error})", "make it again, or restore it from a copy"
        ) from error
    return study, sha256_bytes(folder.study.read_bytes())


def check_pictures(folder: StudyFolder, study: Study) -> None:
    """Refuse a study whose pictures are missing or changed; all are named."""
    problems = []
    for digest in sorted(study.pictures):
        path = folder.picture(digest)
        if not path.is_file():
            problems.append(f"{path.name} is missing")
        elif sha256_file(path) != digest:
            problems.append(f"{path.name} is damaged")
    if problems:
        raise ValidationErrors(
            f"pictures of {folder.path}", problems, "copy the folder again, or make the study again"
        )
