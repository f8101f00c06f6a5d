"""The page that raters use: one HTML file with style, script and the texts of all languages inside."""

import base64
import hashlib
import json
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from ntire_sr.core.files import read_json
from ntire_sr.study.folder import Study


@dataclass(frozen=True)
class Page:
    """A page, its Content-Security-Policy, and the page without a token."""

    html: str
    policy: str  # Content-Security-Policy: nothing but this style and this script, nothing from elsewhere
    without_token: str  # the page for those whose link lacks the token


def load_texts() -> dict[str, dict[str, str]]:
    """The texts of the page: language -> key -> text. Another language is another entry of `texts.json`."""
    texts: dict[str, dict[str, str]] = read_json(Path(__file__).parent / "texts.json", "file of texts")
    return texts


def rating_page(study: Study, study_sha256: str) -> Page:
    """The page of a study."""
    folder = Path(__file__).parent
    # read as text, so that line ends are always \n, as in what the browser compares with its digests
    style, script = ((folder / name).read_text(encoding="utf-8") for name in ("rating.css", "rating.js"))
    texts = load_texts()
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ntire_sr.study", "."), autoescape=True, undefined=jinja2.StrictUndefined
    )
    setup: dict[str, Any] = {
        "study": study_sha256[:16],
        "mode": study.mode,
        "places": len(study.of_kind("place")) + len(study.of_kind("check")),
        "candidates": len(study.names),
        "size": study.size,
    }
    html = environment.get_template("rating.html.j2").render(
        texts=_data(texts),
        setup=_data(setup),
        text=texts["en"],
        style=Markup(style),
        script=Markup(script),
    )
    policy = "; ".join(
        [
            "default-src 'none'",
            "img-src 'self' data:",
            "connect-src 'self'",
            f"style-src {_digest(style)}",
            f"script-src {_digest(script)}",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )
    lines = "".join(
        f'<p lang="{escape(code)}">{escape(language["needs_token"])}</p>' for code, language in texts.items()
    )
    return Page(html, policy, f'<!doctype html><meta charset="utf-8"><title>403</title>{lines}\n')


def _data(value: Any) -> Markup:
    """JSON for the inside of a script element."""
    return Markup(json.dumps(value, ensure_ascii=False).replace("<", "\\u003c"))


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
