"""Making a study: places cut out of the images, one sample of each method at each, and the checks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ntire_sr.challenge.downscale import CROP_MULTIPLE, crop_size, downscale_8bit
from ntire_sr.challenge.names import SampleName
from ntire_sr.challenge.pixels import to_8bit, to_array, to_tensor, to_unit
from ntire_sr.challenge.projection import bicubic_upsample
from ntire_sr.core.errors import UsageError, ValidationErrors, is_printable, plural, require
from ntire_sr.core.files import (
    atomic_write,
    make_folder,
    remove_stale_temp_files,
    sha256_bytes,
    sha256_of_digests,
    write_json,
)
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.evaluation.scoring.matching import SampleGroup, match_samples
from ntire_sr.samples.folders import list_images, list_samples
from ntire_sr.samples.image_files import encode_png, read_image, read_png
from ntire_sr.samples.image_search import is_of_system
from ntire_sr.samples.manifest import load_manifest
from ntire_sr.study.folder import (
    BETWEEN,
    BICUBIC,
    HR,
    Kind,
    Method,
    Mode,
    Place,
    Study,
    StudyFolder,
    load_study,
)
from ntire_sr.study.hashing import chosen, number_of
from ntire_sr.study.places import Spot, choose_spots, spots_of

PRACTICE = 2  # trials that a rater begins with
MOST_METHODS = 8  # with HR there are nine candidates, one for each letter from A to I
LONGEST_NAME = 40
SMALLEST_SIDE_PX = 16  # of a place


@dataclass(frozen=True)
class MadeStudy:
    """The study that was made."""

    study: Study
    folder: StudyFolder
    images: int  # images that places were cut out of
    pictures: int
    bytes: int
    is_new: bool  # False: the same study was there already


@dataclass(frozen=True)
class _Matched:
    """The samples of one method, by number of the image."""

    method: Method
    groups: dict[int, SampleGroup]


def make_study(
    hr: Path,
    sr: Sequence[tuple[str, Path]],
    out: Path,
    places: int = 30,
    size: int = 160,
    check: int = 4,
    seed: int = 0,
    scale: int | None = None,
    lr: bool = False,
    texture: float = 3.0,
    spread: bool = True,
    mode: Mode = "either",
    progress: Progress = SILENT,
) -> MadeStudy:
    """Make the folder of a study. The same input gives the same files.

    Pictures are written first and `study.json` last, so that a folder with one is complete.

    Args:
        hr: folder of HR images.
        sr: (name, folder of samples) of each method.
        out: folder of the study: new, empty, or left by an interrupted call.
        places: number of places to rank.
        size: side of a place in HR pixels, a multiple of the scale.
        check: number of further places that show bicubic against HR.
        seed: decides places and samples.
        scale: HR pixels per LR pixel along an axis; None for the manifests', or 4.
        lr: whether the LR image of a place is shown next to its candidates.
        texture: least texture of a place, see `places.texture_of`; 0 allows any.
        spread: take places from each image in turn.
        mode: how raters answer: "full", "pairs" or "either".
        progress: reports how many files were checked and places cut.

    Raises:
        ValidationErrors: all problems of the folders and names.
        UsageError: `out` holds something else, or there are too few places.
    """
    _check_names(sr)
    scale = _common_scale(sr, scale)
    require(
        size % scale == 0, f"size {size} is not a multiple of scale {scale}", f"--size {size // scale * scale}"
    )
    paths = list_images(hr, "HR", progress=progress)
    matched, digests = _match_all(hr, sr, scale, paths, progress)
    spots = _all_spots(paths, size, scale, seed, progress)
    asked = places + check + PRACTICE
    chosen_spots = choose_spots(spots, asked, texture, spread, seed)
    if len(chosen_spots) < asked:
        raise UsageError(
            f"{hr} has room for {plural(len(chosen_spots), 'place')} of {size} pixels with a texture of {texture:g} or more, "
            f"and {asked} are needed: {places} to rank, {check} to check, {PRACTICE} to practise "
            f"({sum(map(len, spots))} without regard to texture)",
            _what_would_fit(paths, [len(chosen_spots), sum(map(len, spots))], size, scale, seed, texture),
        )
    counts: dict[Kind, int] = {"place": places, "check": check, "practice": PRACTICE}
    kinds = [kind for kind, count in counts.items() for _ in range(count)]
    pictures: dict[str, bytes] = {}
    cut, problems = [], []
    with progress.task("cut", len(chosen_spots)) as advance:
        for number, (spot, kind) in enumerate(zip(chosen_spots, kinds, strict=True)):
            candidates = (
                _candidates(spot, size, seed, paths, matched)
                if kind == "place"
                else _known_candidates(spot, size, scale, paths, middle=number == asked - 1)
            )
            lr_window = _window(_lr_of(read_image(paths[spot.image]), scale), spot, size, scale) if lr else None
            place, same_pictures = _place(
                spot, kind, paths[spot.image].name, seed, candidates, lr_window, pictures
            )
            cut.append(place)
            problems += same_pictures
            advance()
    if problems:
        raise ValidationErrors(
            f"the methods of the study {out}", problems, "give each method once, and not HR as one"
        )
    study = Study(
        seed, scale, size, texture, spread, mode, sha256_of_digests(digests),
        tuple(entry.method for entry in matched), tuple(cut),
    )  # fmt: skip
    folder = StudyFolder(out)
    is_new = _write(folder, study, pictures)
    shown = len({spot.image for spot in chosen_spots})
    return MadeStudy(study, folder, shown, len(pictures), sum(map(len, pictures.values())), is_new)


def _check_names(sr: Sequence[tuple[str, Path]]) -> None:
    problems = []
    names = [name for name, _ in sr]
    if not names or len(names) > MOST_METHODS:
        problems.append(f"{plural(len(names), 'method')}, and a study has 1 to {MOST_METHODS}")
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            problems.append(f"the name {name} is given {names.count(name)} times")
        if not name.strip() or len(name) > LONGEST_NAME or not is_printable(name):
            problems.append(f"{name!r} is no name: 1 to {LONGEST_NAME} printable characters are")
        if name.casefold() == HR.casefold():
            problems.append(f"the name {name} means the HR images, which take part by themselves")
    if problems:
        raise ValidationErrors("--sr NAME=DIR", problems, "give each method once, under different names")


def _common_scale(sr: Sequence[tuple[str, Path]], given: int | None) -> int:
    drawn_at = {}
    for name, folder in sr:
        manifest = load_manifest(folder) if folder.is_dir() else None
        if manifest:
            drawn_at[name] = manifest.settings.scale
    wrong = {name: scale for name, scale in drawn_at.items() if scale != (given or scale)}
    if wrong or len(set(drawn_at.values())) > 1:
        scales = ", ".join(f"{name} at {scale}" for name, scale in (wrong or drawn_at).items())
        asked = f", not {given}" if given else ""
        raise UsageError(
            f"samples were drawn at scales that do not fit: {scales}{asked}", "compare one scale at a time"
        )
    return given or next(iter(drawn_at.values()), 4)


def _match_all(
    hr: Path, sr: Sequence[tuple[str, Path]], scale: int, paths: Sequence[Path], progress: Progress
) -> tuple[list[_Matched], dict[str, str]]:
    """The samples of each method, and the digests of the HR files; the problems of all methods at once."""
    matched, problems = [], []
    digests: dict[str, str] = {}
    for name, folder in sr:
        try:
            files, _ = list_samples(folder)
            samples_per_image = 1 + max((file.sample for file in files), default=0)
            samples = match_samples(
                hr,
                folder,
                samples_per_image,
                scale,
                load_manifest(folder),
                True,
                progress,
                smallest_px=CROP_MULTIPLE,
            )
        except ValidationErrors as error:
            problems += [f"{name}: {problem}" for problem in error.problems]
            continue
        except UsageError as error:
            problems.append(f"{name}: {error.message}")
            continue
        # the index of an image in a method's samples may be another than in the HR folder
        groups = {paths.index(group.hr): group for group in samples.images}
        problems += [
            f"{name}: {path.name} (index {index}) has no sample"
            for index, path in enumerate(paths)
            if index not in groups
        ]
        sample_digests = {
            str(SampleName(group.index, number)): digest
            for group in samples.images
            for number, digest in zip(group.numbers, group.digests[1:], strict=True)
        }
        digests |= {group.hr.name: group.digests[0] for group in samples.images}
        matched.append(_Matched(Method(name, sha256_of_digests(sample_digests), len(sample_digests)), groups))
    if problems:
        raise ValidationErrors(
            f"samples of {hr}", list(dict.fromkeys(problems)), "replace, draw or move these files"
        )
    return matched, digests


def _cropped(image: np.ndarray) -> np.ndarray:
    height, width = crop_size(*image.shape[:2])
    return image[:height, :width]


def _all_spots(paths: Sequence[Path], size: int, step: int, seed: int, progress: Progress) -> list[list[Spot]]:
    spots_by_image = []
    with progress.task("look for places", len(paths)) as advance:
        for number, path in enumerate(paths):
            spots_by_image.append(spots_of(_cropped(read_image(path)), number, size, step, seed))
            advance()
    return spots_by_image


def _what_would_fit(
    paths: Sequence[Path], rooms: list[int], size: int, scale: int, seed: int, texture: float
) -> str:
    """Options with which these images have room for a study, for an error.

    Args:
        paths, scale, seed: of the study.
        rooms: number of places of side `size` with the least texture, and without regard to it.
        size: side of a place.
        texture: the least texture.
    """
    least = PRACTICE + 2  # one place to rank, and one to check
    while max(rooms) < least and size >= 2 * SMALLEST_SIDE_PX:
        size = max(SMALLEST_SIDE_PX, size // 2 // scale * scale)
        spots = _all_spots(paths, size, scale, seed, SILENT)
        rooms = [sum(spot.texture >= texture for image in spots for spot in image), sum(map(len, spots))]
    if max(rooms) < least:
        return "more or larger images"
    room = rooms[0] if rooms[0] >= least else rooms[1]
    check = max(1, (room - PRACTICE) // 8)
    lower = "" if rooms[0] >= least else " --texture 0"
    return f"--size {size} --places {room - PRACTICE - check} --check {check}{lower}, or more images"


def _window(image: np.ndarray, spot: Spot, size: int, scale: int = 1) -> np.ndarray:
    """The place in an image, or in its LR image of this scale."""
    top, left, side = spot.top // scale, spot.left // scale, size // scale
    return np.ascontiguousarray(image[top : top + side, left : left + side])


def _lr_of(hr: np.ndarray, scale: int) -> np.ndarray:
    return to_array(downscale_8bit(to_tensor(_cropped(hr)), scale))


def _candidates(
    spot: Spot, size: int, seed: int, paths: Sequence[Path], matched: Sequence[_Matched]
) -> dict[str, np.ndarray]:
    """HR and one sample of each method, drawn at random from those there are."""
    candidates = {}
    for entry in matched:
        samples = entry.groups[spot.image].samples
        path = chosen(samples, seed, "sample", entry.method.name, spot.image, spot.top, spot.left)
        candidates[entry.method.name] = _window(read_png(path), spot, size)
    return candidates | {HR: _window(read_image(paths[spot.image]), spot, size)}


def _known_candidates(
    spot: Spot, size: int, scale: int, paths: Sequence[Path], middle: bool
) -> dict[str, np.ndarray]:
    """HR and the bicubic upsampling of its LR image, whose order is known; and their mean."""
    hr = _cropped(read_image(paths[spot.image]))
    with torch.inference_mode():
        upsampled = to_array(to_8bit(bicubic_upsample(to_unit(to_tensor(_lr_of(hr, scale))), scale)))
        mean = (to_unit(to_tensor(upsampled)) + to_unit(to_tensor(hr))) / 2
        between = {BETWEEN: _window(to_array(to_8bit(mean)), spot, size)} if middle else {}
    return {BICUBIC: _window(upsampled, spot, size), **between, HR: _window(hr, spot, size)}


def _place(
    spot: Spot,
    kind: Kind,
    image: str,
    seed: int,
    candidates: Mapping[str, np.ndarray],
    lr: np.ndarray | None,
    pictures: dict[str, bytes],
) -> tuple[Place, list[str]]:
    """A place, whose pictures are added to `pictures`, and messages about candidates that show the same picture."""

    def add(picture: np.ndarray) -> str:
        content = encode_png(picture)
        digest = sha256_bytes(content)
        pictures[digest] = content
        return digest

    digests: dict[str, str] = {}
    problems = []
    for name, picture in candidates.items():
        digest = add(picture)
        problems += [
            f"{first} and {name} show the same picture of {image} at {spot.left}, {spot.top}"
            for first, first_digest in digests.items()
            if first_digest == digest
        ]
        digests[name] = digest
    identity = f"{number_of(seed, 'place', spot.image, spot.top, spot.left):015x}"[:12]
    return Place(identity, kind, image, spot.top, spot.left, digests, None if lr is None else add(lr)), problems


def _write(folder: StudyFolder, study: Study, pictures: Mapping[str, bytes]) -> bool:
    """Write the folder; returns False if it holds this study already. Another study is never changed."""
    out = folder.path
    if folder.study.exists():
        existing, _ = load_study(folder)
        if existing != study:
            names = ("seed", "scale", "size", "texture", "spread", "mode")
            differing = [
                f"{name}: {getattr(existing, name)} there, {getattr(study, name)} asked for"
                for name in names
                if getattr(existing, name) != getattr(study, name)
            ]
            reason = "; ".join(differing) or "other images, samples or numbers of places"
            raise UsageError(
                f"{out} holds another study ({reason})", "choose another --out, or remove that folder"
            )
    elif out.exists() and (
        unexpected := sorted(
            path.name for path in out.iterdir() if path != folder.images and not is_of_system(path.name)
        )
    ):
        raise UsageError(
            f"{out} holds other files ({unexpected[0]})", "choose a new or an empty folder for --out"
        )
    is_new = not folder.study.exists()
    make_folder(folder.images)
    remove_stale_temp_files(folder.images)
    for digest, content in pictures.items():
        path = folder.picture(digest)
        if not path.is_file() or path.read_bytes() != content:
            atomic_write(path, content)
    for path in folder.images.glob("*.png"):  # of an interrupted call with other settings
        if path.stem not in pictures:
            path.unlink()
    if is_new:
        write_json(folder.study, study.as_json())
    return is_new
