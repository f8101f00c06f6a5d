"""ntire-sr: draw, score and hand in samples of the super-resolution space."""

__version__ = "0.1.0"
