"""The `readme.txt` that NTIRE's servers parse."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Readme:
    """Its four lines."""

    seconds_per_image: float  # run time for one sample of one image
    on_gpu: bool
    extra_data: bool  # whether the training saw more than the challenge's own training set
    description: str

    def text(self) -> str:
        """The file's content; line ends in the description become spaces, since each line is parsed.

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
