"""Folders of samples to score, and a browser for the pages."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ntire_sr.challenge.names import SampleName
from ntire_sr.core.files import atomic_write
from ntire_sr.samples.image_files import write_png


@dataclass(frozen=True)
class Folders:
    """HR images and their samples."""

    hr: Path
    sr: Path


@pytest.fixture
def folders(tmp_path, photograph) -> Folders:
    """HR of 96 x 128 and 70 x 83, with three samples each that are nearly the HR images."""
    made = Folders(tmp_path / "HR", tmp_path / "SR")
    for index, image in enumerate((photograph, np.ascontiguousarray(photograph[:70, :83]))):
        write_png(made.hr / f"{801 + index:04d}.png", image)
        for k in range(3):
            sample = image.copy()
            sample[8 + 16 * k : 24 + 16 * k, 8:40] ^= 3
            write_png(made.sr / str(SampleName(index, k)), sample)
    return made


@pytest.fixture
def open_html(browser, tmp_path) -> Iterator[Callable[..., Any]]:
    """Opens a page from disk; afterwards no console message, no error and no request may have been."""
    contexts, complaints = [], []

    def opened(html: str, width: int = 1200, height: int = 900, fragment: str = "", **context: Any) -> Any:
        path = tmp_path / "page.html"
        atomic_write(path, html)
        window = {"width": width, "height": height}
        contexts.append(browser.new_context(viewport=window, reduced_motion="reduce", **context))
        page = contexts[-1].new_page()
        page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
        page.on(
            "request", lambda request: re.match("file:|data:", request.url) or complaints.append(request.url)
        )
        page.goto(path.as_uri() + fragment)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []
