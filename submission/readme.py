"""The `readme.txt` that NTIRE's servers parse."""

import math
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Readme:
    """The four values of a `readme.txt`."""

    seconds_per_image: float  # run time for one sample of one image
    on_gpu: bool
    extra_data: bool  # whether the training used data beyond the challenge's training set
    description: str

    def text(self) -> str:
        """The file's content; line breaks in the description become spaces, since servers parse each line.

        >>> print(Readme(10.43, True, False, "ours").text(), end="")
        runtime per image [s] : 10.43
        CPU[1] / GPU[0] : 0
        Extra Data [1] / No Extra Data [0] : 0
        Other description : ours
        """
        return (
            f"runtime per image [s] : {self.seconds_per_image:.2f}\n"
            f"CPU[1] / GPU[0] : {int(not self.on_gpu)}\n"
            f"Extra Data [1] / No Extra Data [0] : {int(self.extra_data)}\n"
            f"Other description : {' '.join(self.description.split())}\n"
        )


LINES = ("runtime per image [s]", "CPU[1] / GPU[0]", "Extra Data [1] / No Extra Data [0]", "Other description")


def readme_problems(content: bytes) -> list[str]:
    """Problems that would keep a server from parsing this content of a readme.txt."""
    text = content.decode("utf-8-sig", errors="replace")
    values = {}
    for line in text.splitlines():
        label, colon, value = line.partition(":")
        if colon:
            values[re.sub(r"\s+", "", label).lower()] = value.strip()
    problems = []
    for label in LINES:
        value = values.get(re.sub(r"\s+", "", label).lower())
        if value is None:
            problems.append(f"readme.txt: the line {label!r} is missing")
        elif label == LINES[0] and not _is_seconds(value):
            problems.append(f"readme.txt: {label!r} is {value[:40]!r}, no number of seconds")
        elif label in LINES[1:3] and value not in ("0", "1"):
            problems.append(f"readme.txt: {label!r} is {value[:40]!r}, neither 0 nor 1")
    return problems


def _is_seconds(value: str) -> bool:
    try:
        return 0 <= float(value) < math.inf
    except ValueError:
        return False
