"""What the tests of a study share: its inputs, and a server for it."""

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ntire_sr.study.answers import open_answers
from ntire_sr.study.folder import StudyFolder, load_study

SIZE, PLACES, CHECKS = 32, 5, 2
METHODS = ("sharp", "soft")


@dataclass(frozen=True)
class Inputs:
    """HR images, and folders of samples by method."""

    hr: Path
    sr: list[tuple[str, Path]]


@dataclass(frozen=True)
class Reply:
    """What a server answered."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)


@dataclass(frozen=True)
class Server:
    """A server on loopback."""

    port: int

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
        """One request; `_` in the names of headers stands for `-`."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        try:
            connection.request(
                method, path, body, {name.replace("_", "-"): value for name, value in headers.items()}
            )
            reply = connection.getresponse()
            return Reply(reply.status, dict(reply.getheaders()), reply.read())
        finally:
            connection.close()

    def post(self, path: str, content: Any, **headers: str) -> Reply:
        """Post JSON, as the page does."""
        own = {"content_type": "application/json", "origin": f"http://127.0.0.1:{self.port}"}
        return self.ask("POST", path, json.dumps(content).encode(), **{**own, **headers})


@contextmanager
def serving(
    folder: StudyFolder, token: str | None = None, loopback: bool = True, public_url: str | None = None
) -> Iterator[tuple[Server, Any]]:
    """The application behind a real server in a thread; gives the server and its answers."""
    import uvicorn

    from ntire_sr.study.page import rating_page
    from ntire_sr.study.server import Served, build_app
    from ntire_sr.study.serving import _bound

    study, digest = load_study(folder)
    book = open_answers(folder.answers, digest)
    with _bound("127.0.0.1", 0) as listening:
        page = rating_page(study, digest)
        app = build_app(Served(study, digest, folder, book, page, token, loopback, public_url))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield Server(listening.getsockname()[1]), book
        finally:
            server.should_exit = True
            thread.join(20)
            book.close()
