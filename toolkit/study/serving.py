"""Serving a study: one server at a time, its address, and its start and end."""

import json
import os
import platform
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from ntire_sr.core.errors import NtireSrError, UsageError
from ntire_sr.core.files import error_from_os_error, write_json
from ntire_sr.study.answers import count, fact, open_answers, remember, token_of
from ntire_sr.study.folder import StudyFolder, check_pictures, load_study

TOKEN = re.compile(r"[A-Za-z0-9_-]{8,64}")
LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")
MISSING = "`study serve` needs starlette and uvicorn, of which {name} is not installed"
INSTALL = "pip install 'ntire-sr[study]'"


@dataclass(frozen=True)
class Ended:
    """Numbers of raters and answers when a server ends."""

    raters: int
    answers: int


def serve_study(
    path: Path,
    host: str = "127.0.0.1",
    port: int = 0,
    token: str | None = None,
    started: Callable[[str], None] = lambda link: None,
    public_url: str | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> Ended:
    """Serve a study until it is interrupted.

    Args:
        path: folder of the study.
        host: address to listen on; with any but a loopback address the link holds a token.
        port: port to listen on; 0 for the last one, so that raters keep their link, or any free one.
        token: token that the link must hold; None for none on loopback, and otherwise one that is made once and kept.
        started: called with the link when the server listens.
        public_url: address that raters open, where a web server (HTTPS, another name or port) forwards to this one.
        note: called with what raters with an earlier link need to know.

    Raises:
        NtireSrError: the extra is not installed, the study is served already, the folder cannot be written to, ...
    """
    try:
        import uvicorn

        from ntire_sr.study import server
        from ntire_sr.study.page import rating_page
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("ntire_sr"):
            raise
        raise NtireSrError(MISSING.format(name=error.name), INSTALL) from error
    if token is not None and not TOKEN.fullmatch(token):
        raise UsageError("the token is not valid", "8 to 64 letters, digits, - or _; or leave --token out")
    public = _public_url(public_url)
    folder = StudyFolder(path)
    study, digest = load_study(folder)
    check_pictures(folder, study)
    with _only_server(folder) as claim, closing(open_answers(folder.answers, digest)) as book:
        loopback = host in LOOPBACK_HOSTS
        beyond = not loopback or (public is not None and urlsplit(public).hostname not in LOOPBACK_HOSTS)
        if token is None and beyond:
            token = token_of(book)
        last, (raters, _) = int(fact(book, "port", "0")), count(book)
        # raters keep their link, and their browser what it stored for that address
        listening = _listen(host, port or (last if raters else 0), last)
        with listening:
            port = listening.getsockname()[1]
            remember(book, "port", str(port))
            if public is None and raters and last not in (0, port):
                note(
                    f"the port was {last}: links that raters were sent earlier do not lead here; send them the new one"
                )
            shown = _host_of_link(host)
            address = public or f"http://{f'[{shown}]' if ':' in shown else shown}:{port}/"
            link = address + (f"?token={token}" if token else "")
            claim(link)
            served = server.Served(
                study, digest, folder, book, rating_page(study, digest), token, loopback, public
            )
            config = uvicorn.Config(
                server.build_app(served), log_level="warning", access_log=False, server_header=False,
                lifespan="off", timeout_graceful_shutdown=5,
            )  # fmt: skip
            started(link)
            with suppress(KeyboardInterrupt):  # uvicorn raises it again when it has ended well
                uvicorn.Server(config).run(sockets=[listening])
        return Ended(*count(book))


def _public_url(text: str | None) -> str | None:
    """The address that raters open, with a slash at its end.

    Raises:
        UsageError: it is not the address of a page.
    """
    if text is None:
        return None
    try:
        parts = urlsplit(text)
        valid = parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
    except ValueError:
        valid = False
    if not valid or parts.query or parts.fragment or "@" in parts.netloc:
        raise UsageError(
            f"--public-url {text} is not the address of a page", "https://lab.edu, or http://lab.edu:8000/study"
        )
    return parts.geturl().rstrip("/") + "/"


def _host_of_link(host: str) -> str:
    """The host for the link: an address of this machine for 0.0.0.0 and ::, which browsers do not open."""
    family, target = {
        "0.0.0.0": (socket.AF_INET, "192.0.2.1"), "::": (socket.AF_INET6, "2001:db8::1")
    }.get(host, (None, ""))  # fmt: skip
    if family is None:
        return host
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((target, 9))  # sends nothing; the system chooses the address that it would send from
        return str(probe.getsockname()[0])
    return "127.0.0.1" if family == socket.AF_INET else "::1"


@contextmanager
def _only_server(folder: StudyFolder) -> Iterator[Callable[[str], None]]:
    """Hold the study's lock; gives a function that records the link under which it is served.

    The operating system releases the lock however the process ends.
    """
    lock = FileLock(folder.lock, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise NtireSrError(
            f"{folder.path} is served already{_other_server(folder)}", "use that server, or end it first"
        ) from error
    except OSError as error:
        raise error_from_os_error(error, f"cannot store answers in {folder.path}") from error
    try:
        yield lambda link: write_json(
            folder.serving, {"pid": os.getpid(), "host": platform.node(), "link": link}
        )
    finally:
        with suppress(OSError):
            folder.serving.unlink(missing_ok=True)
        lock.release()


def _other_server(folder: StudyFolder) -> str:
    """The process that serves the study, as it recorded itself; empty if that is not known."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        record = json.loads(folder.serving.read_text(encoding="utf-8"))
        link = str(record["link"]).partition("?")[0]  # without the token
        return f" by process {record['pid']} on {record['host']} at {link}"
    return ""


def _listen(host: str, port: int, last: int) -> socket.socket:
    """A listening socket; port 0 takes the last port where it is free, and else any."""
    for candidate in dict.fromkeys([port or last, port]):
        try:
            return _bound(host, candidate)
        except socket.gaierror as error:
            raise UsageError(
                f"--host {host} is no address of this machine ({error.strerror})", "--host 127.0.0.1"
            ) from error
        except (OSError, OverflowError) as error:
            reason = error
    raise NtireSrError(
        f"cannot listen on {host}, port {port or last}: {getattr(reason, 'strerror', reason)}",
        "end the program that uses it, or choose another --port or --host; raters then need the new link",
    ) from reason


def _bound(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listening = socket.socket(family, kind, protocol)
    try:
        if os.name != "nt":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)
    except OSError:
        listening.close()
        raise
    return listening
