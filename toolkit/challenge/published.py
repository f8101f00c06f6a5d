"""Published results of the 2021 challenge, and the place of a score among them.

Lugmayr et al., "NTIRE 2021 Learning the Super-Resolution Space Challenge", CVPR workshops 2021,
tables 1 and 2. They were measured on the challenge's own test images, which differ from other data sets in
difficulty: a row that was measured on other images shows an order of magnitude, not a rank.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ntire_sr.challenge.downscale import REQUIRED_DB

COLUMNS = ("by S_10", "team", "S_10", "LPIPS", "by LPIPS", "LR-PSNR", "MOR")  # of the table for readers
CAVEAT = (
    "The published rows were measured on the challenge's own 100 test images; "
    "a rank among them holds for a score on these images only."
)


@dataclass(frozen=True)
class Entry:
    """One row. MOR is the mean opinion rank of the user study, lower is better; None for entries not in it."""

    team: str
    lpips: float
    lr_psnr_db: float
    diversity: float | None  # S_10 of LPIPS in per cent; None without samples, and thus without a rank
    mor: float | None = None

    @property
    def under(self) -> bool:
        """Whether it is under the 45 dB that the challenge requires."""
        return self.lr_psnr_db < REQUIRED_DB


RESULTS_2021 = {
    4: (
        Entry("svnit_ntnu", 0.355, 27.52, 1.871),
        Entry("SYSU-FVL", 0.244, 49.33, 8.735),
        Entry("nanbeihuishi", 0.161, 50.46, 12.447),
        Entry("FudanZmic21", 0.273, 47.20, 16.450),
        Entry("FutureReference", 0.165, 37.51, 19.636),
        Entry("SR_DL", 0.234, 39.80, 20.508),
        Entry("SSS", 0.110, 44.70, 13.285, 4.530),
        Entry("BeWater", 0.137, 49.59, 23.948, 4.720),
        Entry("CIPLAB", 0.121, 50.70, 23.091, 4.478),
        Entry("njtech&seu", 0.149, 46.74, 26.924, 4.977),
        Entry("Deepest (NCSR)", 0.117, 50.54, 26.041, 4.372),
        Entry("SRFlow (baseline)", 0.122, 49.86, 25.008, 4.410),
        Entry("ESRGAN (baseline)", 0.124, 38.74, 0.0, 4.467),
        Entry("ground truth", 0.0, math.inf, None, 3.728),
    ),
    8: (
        Entry("svnit_ntnu", 0.481, 25.55, 4.516),
        Entry("SYSU-FVL", 0.415, 47.27, 8.778),
        Entry("FudanZmic21", 0.496, 46.78, 14.287),
        Entry("FutureReference", 0.291, 36.51, 17.985),
        Entry("SR_DL", 0.311, 42.28, 14.817, 4.738),
        Entry("SSS", 0.237, 37.43, 13.548, 4.692),
        Entry("BeWater", 0.297, 49.63, 23.700, 5.133),
        Entry("CIPLAB", 0.266, 50.86, 23.320, 4.637),
        Entry("njtech&seu", 0.366, 29.65, 28.193),
        Entry("Deepest (NCSR)", 0.259, 48.64, 26.941, 4.630),
        Entry("SRFlow (baseline)", 0.282, 47.72, 25.582, 4.635),
        Entry("ESRGAN (baseline)", 0.284, 30.65, 0.0, 4.323),
        Entry("ground truth", 0.0, math.inf, None, 2.613),
    ),
}


@dataclass(frozen=True)
class Row:
    """An entry and its ranks among the entries that have samples."""

    entry: Entry
    by_diversity: int | None  # rank by S_10, 1 is the highest; None without samples
    by_lpips: int | None  # rank by LPIPS, 1 is the lowest

    @property
    def cells(self) -> list[str]:
        """The row as texts, in the order of `COLUMNS`; empty where there is no value."""

        def text(value: float | None, digits: int) -> str:
            return "" if value is None else f"{value:.{digits}f}"

        entry = self.entry
        return [
            text(self.by_diversity, 0),
            entry.team,
            text(entry.diversity, 3),
            text(entry.lpips, 3),
            text(self.by_lpips, 0),
            text(entry.lr_psnr_db, 2),
            text(entry.mor, 3),
        ]


@dataclass(frozen=True)
class Standing:
    """The published table with one more row, highest S_10 first."""

    ours: Row
    rows: tuple[Row, ...]

    @property
    def ranked(self) -> int:
        """Number of entries that have ranks."""
        return sum(row.by_diversity is not None for row in self.rows)


def standing(scale: int, lpips: float, lr_psnr_db: float, diversity: float) -> Standing:
    """The place of a score in the 2021 table of its track.

    Args:
        scale: 4 or 8.
        lpips: mean LPIPS, lower is better.
        lr_psnr_db: LR-PSNR of the mean LR error, or the official mean, in dB.
        diversity: S_10 of LPIPS in per cent, higher is better.
    """
    ours = Entry("this score", lpips, lr_psnr_db, diversity)
    rows = ranked(scale, [ours])
    return Standing(next(row for row in rows if row.entry is ours), tuple(rows))


def ranked(scale: int, ours: Sequence[Entry]) -> list[Row]:
    """The published entries and some of ours with their ranks, highest S_10 first; those without ranks last."""
    entries = [*RESULTS_2021[scale], *ours]
    with_samples = [(entry, entry.diversity) for entry in entries if entry.diversity is not None]
    rows = [
        Row(
            entry,
            1 + sum(higher > diversity for _, higher in with_samples),
            1 + sum(lower.lpips < entry.lpips for lower, _ in with_samples),
        )
        for entry, diversity in with_samples
    ]
    rows.sort(key=lambda row: (row.by_diversity or 0, row.by_lpips or 0))
    return rows + [Row(entry, None, None) for entry in entries if entry.diversity is None]
