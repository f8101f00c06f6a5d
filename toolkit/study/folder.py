"""The folder of a study: the content of `study.json`, and the paths of the other files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, to_builtins

from ntire_sr.core.errors import NtireSrError, UsageError, ValidationErrors
from ntire_sr.core.files import read_json, sha256_bytes, sha256_file
from ntire_sr.core.records import to_record

FORMAT = 1
HR = "HR"  # the HR image among the candidates
# candidates of checks and practice: the bicubic upsampling of the LR image, and its mean with HR
BICUBIC, BETWEEN = "bicubic", "between"
MODES = ("full", "pairs")

Kind = Literal["place", "check", "practice"]
Mode = Literal["full", "pairs", "either"]  # "either": the rater chooses
PlaceId = Annotated[str, Meta(pattern=r"\A[0-9a-f]{12}\Z")]
PictureDigest = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]  # SHA-256; becomes the name of a file


class Method(Struct, frozen=True, forbid_unknown_fields=True):
    """A method of the study."""

    name: str
    samples_sha256: str  # over all its sample files, see `files.sha256_of_digests`
    samples: int  # number of its sample files


class Place(Struct, frozen=True, forbid_unknown_fields=True):
    """A place of an image with its candidates."""

    id: PlaceId  # does not depend on the kind
    kind: Kind  # "check": bicubic against HR; "practice": does not count
    image: str  # name of the HR image
    top: int  # in pixels
    left: int
    candidates: dict[str, PictureDigest]  # method, `HR` or another name -> its picture
    lr: PictureDigest | None  # the LR picture, if it is shown

    @property
    def method_of(self) -> dict[str, str]:
        """Picture -> the candidate that it shows."""
        return {digest: method for method, digest in self.candidates.items()}


class Study(Struct, frozen=True, forbid_unknown_fields=True):
    """The places and candidates that raters see, and how they were chosen."""

    seed: int
    scale: int
    size: int  # side of a place in HR pixels
    texture: float  # least mean difference of neighbouring pixels, in grey levels
    spread: bool  # whether places were taken from each image in turn
    mode: Mode
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
        return {"format": FORMAT, **to_builtins(self)}


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
    content = read_json(folder.study, "study")
    what = f"the study {folder.study}"
    if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
        raise NtireSrError(f"{what} is of another version", "make it again with this version")
    remedy = "make it again, or restore it from a copy"
    study = to_record(content, Study, what, remedy)
    for place in study.of_kind("place"):
        if set(place.candidates) != set(study.names):
            raise NtireSrError(f"{what} is damaged: place {place.id} does not show all methods and HR", remedy)
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
