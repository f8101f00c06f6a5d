"""The samples that a call is going to draw, described for people: their number, size and time."""

from dataclasses import dataclass

from ntire_sr.challenge.names import SampleName
from ntire_sr.core.errors import plural
from ntire_sr.core.progress import describe_seconds
from ntire_sr.samples.manifest import ImageRecord, Manifest


@dataclass(frozen=True)
class Plan:
    """The samples that are to be drawn, for messages."""

    manifest: Manifest
    missing: dict[int, list[SampleName]]  # by index of the image

    @property
    def samples(self) -> int:
        return sum(map(len, self.missing.values()))

    @property
    def first(self) -> int:
        """Index of the first image."""
        return next(iter(self.missing))

    @property
    def description(self) -> str:
        """Their number, size and precision."""
        settings = self.manifest.settings
        images = sorted((self.manifest.images[index] for index in self.missing), key=_pixels)
        sizes = [f"{image.width * settings.scale} x {image.height * settings.scale}" for image in images]
        size = sizes[0] if sizes[0] == sizes[-1] else f"{sizes[0]} to {sizes[-1]}"
        count = f"{plural(self.samples, 'sample')} of {plural(len(images), 'image')}"
        return f"{count}, {size} pixels, in {settings.precision}"

    def describe_rest(self, seconds: float) -> str:
        """How long the rest takes, by the number of its pixels, if the first image took so many seconds."""
        pixels = [_pixels(self.manifest.images[index]) * len(names) for index, names in self.missing.items()]
        rest = describe_seconds(seconds * sum(pixels[1:]) / pixels[0])
        return f"the first image took {describe_seconds(seconds)}; the rest takes about {rest}"


def _pixels(image: ImageRecord) -> int:
    return image.height * image.width
