"""The web application of a study: the page, its pictures, and three calls that store and return answers.

    GET  /                   the page
    GET  /images/DIGEST.png  a picture of the study, and no other file
    POST /api/raters         {id, name, mode, language}: a new rater, or one who continues
    GET  /api/raters/ID      the trials of a rater, and the stored answers
    POST /api/answers        {id, rater, trial, ranking, seconds, replaces}

An answer is acknowledged with 200 only when it is on the disk. Errors are {"error": CODE, "message": TEXT}; the
codes are keys of the page's texts.
"""

import logging
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ntire_sr.core.files import sha256_bytes
from ntire_sr.study.answers import (
    AnswerBook,
    Conflict,
    NotStored,
    Rater,
    add_answer,
    add_rater,
    answers_by,
    find_rater,
)
from ntire_sr.study.folder import HR, Study, StudyFolder
from ntire_sr.study.page import Page
from ntire_sr.study.trials import Trial, trials_of
from ntire_sr.study.validation import (
    AnswerPost,
    RaterPost,
    RequestError,
    decode_post,
    parse_answer,
    parse_rater,
)

MOST_BYTES = 16_384  # of a body; the longest that the page sends has about 1000
TOKEN_SECONDS = 90 * 86400  # that a browser keeps the token
PUBLIC_URL = "start it with --public-url and the address that raters open"
LOOPBACK = ("localhost", "127.0.0.1", "[::1]", "::1")

_LOGGER = logging.getLogger(__name__)  # without a handler, Python prints its errors to standard error

HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
PRIVATE, KEPT = "no-store", "private, max-age=31536000, immutable"


@dataclass(frozen=True)
class Served:
    """What the application serves."""

    study: Study
    study_sha256: str
    folder: StudyFolder
    book: AnswerBook
    page: Page
    token: str | None  # that the link must hold; None: none
    loopback: bool  # whether it listens on this machine only
    public_url: str | None = None  # address that raters open, if it is another one than the server's


def build_app(served: Served) -> Starlette:
    """The ASGI application of a study."""
    pictures = served.study.pictures

    async def page(request: Request) -> Response:
        response = HTMLResponse(served.page.html, headers={"cache-control": PRIVATE})
        response.headers["content-security-policy"] = served.page.policy
        if served.token is not None:
            # the address is shown and sent on; the cookie is not
            response.set_cookie(
                _cookie(served), served.token, TOKEN_SECONDS, path="/", httponly=True, samesite="lax"
            )
        return response

    async def picture(request: Request) -> Response:
        digest = request.path_params["digest"]
        if digest not in pictures:
            raise RequestError(404, "unknown", "the study has no such picture")
        path = served.folder.picture(digest)
        try:
            content = await run_in_threadpool(path.read_bytes)
        except OSError as error:
            raise _missing_picture(path, str(error.strerror)) from error
        if sha256_bytes(content) != digest:  # a rater would rank another picture
            raise _missing_picture(path, "its content has changed")
        return Response(content, media_type="image/png", headers={"cache-control": KEPT})

    async def begin(request: Request) -> Response:
        rater = parse_rater(decode_post(await _body_of(request), RaterPost), served.study)
        await run_in_threadpool(add_rater, served.book, rater)
        return _acknowledge({"id": rater.id})

    async def state(request: Request) -> Response:
        rater = await _known_rater(served, request.path_params["rater"])
        answers = await run_in_threadpool(answers_by, served.book, rater.id)
        return _acknowledge(
            {
                "name": rater.name,
                "mode": rater.mode,
                "trials": [
                    _shown(trial, served.study) for trial in trials_of(served.study, rater.id, rater.mode)
                ],
                "answers": {answer.trial: {"id": answer.id, "ranking": answer.ranking} for answer in answers},
            }
        )

    async def answer(request: Request) -> Response:
        post = decode_post(await _body_of(request), AnswerPost)
        rater = await _known_rater(served, post.rater)
        trials = {trial.id: trial for trial in trials_of(served.study, rater.id, rater.mode)}
        await run_in_threadpool(add_answer, served.book, parse_answer(post, trials), post.replaces)
        return _acknowledge({"id": post.id})

    return Starlette(
        routes=[
            Route("/", page),
            Route("/images/{digest:str}.png", picture),
            Route("/api/raters", begin, methods=["POST"]),
            Route("/api/raters/{rater:str}", state),
            Route("/api/answers", answer, methods=["POST"]),
        ],
        middleware=[Middleware(_Guard, served=served)],
        exception_handlers={
            RequestError: lambda request, error: _refuse(error),
            NotStored: lambda request, error: _refuse(_not_stored(error)),
            Conflict: lambda request, error: _refuse(RequestError(409, "conflict", str(error))),
            HTTPException: lambda request, error: _refuse(_http(error)),
        },
    )


# ---- what is asked


async def _body_of(request: Request) -> bytes:
    """The body; refused if it is not declared as JSON or is too long."""
    if request.headers.get("content-type", "").split(";")[0].strip() != "application/json":
        raise RequestError(415, "malformed", "the body is not application/json")
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > MOST_BYTES:
            raise RequestError(413, "malformed", f"the body has more than {MOST_BYTES} bytes")
    return content


async def _known_rater(served: Served, rater: str) -> Rater:
    stored = await run_in_threadpool(find_rater, served.book, rater)
    if stored is None:
        raise RequestError(404, "unknown-rater", "the study has no such rater")
    return stored


# ---- what is sent


def _shown(trial: Trial, study: Study) -> dict[str, Any]:
    """A trial as the page gets it, without any hint of methods and checks."""
    shown: dict[str, Any] = {"id": trial.id, "candidates": trial.candidates, "lr": trial.lr, "practice": None}
    if trial.kind == "practice":
        shown["practice"] = next(place.candidates[HR] for place in study.places if place.id == trial.id)
    return shown


def _acknowledge(content: dict[str, Any]) -> Response:
    return JSONResponse(content, headers={"cache-control": PRIVATE})


def _refuse(error: RequestError) -> Response:
    return JSONResponse(
        {"error": error.code, "message": error.message}, error.status, headers={"cache-control": PRIVATE}
    )


def _not_stored(error: Exception) -> RequestError:
    assert isinstance(error, NotStored)
    # the path of the file is the operator's business
    status = 507 if error.reason == "full" else 503
    return RequestError(status, error.reason, f"nothing was stored: {error.remedy}")


def _missing_picture(path: Path, reason: str) -> RequestError:
    """The refusal of a picture that was there at the start; the operator is told its path."""
    _LOGGER.error("cannot serve %s (%s): restore it from a copy", path, reason)
    return RequestError(503, "picture", "this picture cannot be read now")


def _http(error: Exception) -> RequestError:
    assert isinstance(error, HTTPException)
    return RequestError(error.status_code, "unknown" if error.status_code == 404 else "malformed", error.detail)


# ---- who may ask


def _cookie(served: Served) -> str:
    return f"study_{served.study_sha256[:12]}"  # cookies are shared by all ports of a host


def _address(url: str) -> tuple[str, str | None, int | None] | None:
    """Scheme, host and port of a URL, with the scheme's usual port; None if it has no valid ones."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None
    return (parts.scheme, parts.hostname, port) if parts.hostname else None


def _name_of_host(host: str) -> str:
    return host.rpartition(":")[0] if re.search(r":\d+$", host) else host


def refusal(served: Served, request: HTTPConnection, method: str) -> RequestError | None:
    """The error of a request from outside: wrong host, token or origin; None if it may be answered."""
    host = request.headers.get("host", "")
    # a name that leads here from outside (DNS rebinding) would make any site this one's own origin
    public = urlsplit(served.public_url or "")
    if served.loopback and _name_of_host(host).lower() not in (*LOOPBACK, public.hostname):
        return RequestError(
            421,
            "origin",
            f"this server answers to localhost only; behind a proxy or another name: {PUBLIC_URL}",
        )
    if served.token is not None:
        tokens = [request.query_params.get("token"), request.cookies.get(_cookie(served))]
        if not any(token and secrets.compare_digest(token.encode(), served.token.encode()) for token in tokens):
            return RequestError(403, "token", "the link lacks the token of this study")
    if method not in ("GET", "HEAD"):
        origin = request.headers.get("origin")
        own_address = _address(public.geturl())
        if (
            origin is not None
            and origin.partition("://")[2] != host
            and (own_address is None or _address(origin) != own_address)
        ):
            return RequestError(
                403, "origin", f"another site may not post here; behind a proxy or another name: {PUBLIC_URL}"
            )
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return RequestError(403, "origin", "another site may not post here")
    return None


class _Guard:
    """Refuses requests from outside, and adds the headers that every reply has."""

    def __init__(self, app: ASGIApp, served: Served):
        self.app, self.served = app, served

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name for name, _ in message["headers"]}
                policy = {"content-security-policy": "default-src 'none'; frame-ancestors 'none'"}
                added = [(name.encode(), value.encode()) for name, value in (HEADERS | policy).items()]
                message["headers"] = [
                    *message["headers"],
                    *(header for header in added if header[0] not in present),
                ]
            await send(message)

        request = HTTPConnection(scope)
        refused = refusal(self.served, request, scope["method"])
        if refused is None:
            await self.app(scope, receive, send_with_headers)
        elif refused.code == "token" and scope["path"] == "/":
            await HTMLResponse(self.served.page.without_token, 403)(scope, receive, send_with_headers)
        else:
            await _refuse(refused)(scope, receive, send_with_headers)
