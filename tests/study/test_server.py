"""The server over HTTP: what it serves, and what it refuses."""

import json

import pytest
from studying import serving

from ntire_sr.study.answers import answers_by, count
from ntire_sr.study.trials import trials_of
from ntire_sr.study.validation import MOST_SECONDS

ADA = "a" * 32


def begin(server, rater=ADA, **changes):
    return server.post("/api/raters", {"id": rater, "name": "Ada", "mode": "full", "language": "en", **changes})


def body_of(trial, number=1, rater=ADA, **changes):
    ranking = [[digest] for digest in trial["candidates"]]
    return {
        "id": f"{number:032x}",
        "rater": rater,
        "trial": trial["id"],
        "ranking": ranking,
        "seconds": 1.5,
        **changes,
    }


def state(server, rater=ADA):
    return server.ask("GET", f"/api/raters/{rater}").json


def test_rater_continues_after_the_last_answer(server):
    assert begin(server).status == 200
    trials = state(server)["trials"]
    for number, trial in enumerate(trials[:3]):
        assert server.post("/api/answers", body_of(trial, number)).json == {"id": f"{number:032x}"}
        assert server.post("/api/answers", body_of(trial, number)).status == 200  # sent again
    restored = state(server)
    assert list(restored["answers"]) == [trial["id"] for trial in trials[:3]]
    assert restored["answers"][trials[0]["id"]]["ranking"] == [[digest] for digest in trials[0]["candidates"]]


def test_page_and_trials_do_not_tell_methods_or_checks(server, study):
    page = server.ask("GET", "/")
    begin(server)
    trials = server.ask("GET", f"/api/raters/{ADA}")
    for content in (page.content, trials.content):
        for name in (b"sharp", b"bicubic", b"0801.png", b'"check"', b'"HR"'):
            assert name not in content
    assert {tuple(sorted(trial)) for trial in trials.json["trials"]} == {("candidates", "id", "lr", "practice")}
    told = [trial["practice"] is not None for trial in trials.json["trials"]]
    assert told == [trial.kind == "practice" for trial in trials_of(study, ADA, "full")]


def test_every_reply_has_security_headers(server):
    for path in ("/", "/absent", "/api/raters/x"):
        headers = server.ask("GET", path).headers
        assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer" and headers["cache-control"] == "no-store"
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy


def test_only_pictures_of_the_study_are_served(server, study, study_folder):
    digest = min(study.pictures)
    picture = server.ask("GET", f"/images/{digest}.png")
    assert picture.content == study_folder.picture(digest).read_bytes()
    assert picture.headers["content-type"] == "image/png" and "immutable" in picture.headers["cache-control"]
    stranger = study_folder.images / f"{'0' * 64}.png"
    stranger.write_bytes(b"secret")
    for path in (
        f"/images/{'0' * 64}.png", "/images/../study.json", "/images/..%2fstudy.json", "/images/%2e%2e/study.json",
        "/study.json", "/answers.sqlite", "/images/", f"/images/{digest.upper()}.png", f"//images/..{study_folder.study}",
        f"/images/{digest}.png%00", "/images/..%5c..%5cstudy.json.png",
    ):  # fmt: skip
        assert server.ask("GET", path).status == 404, path


@pytest.mark.parametrize(
    "change",
    [
        {"id": "1"}, {"id": 7}, {"id": "A" * 32}, {"id": "../" + "a" * 29}, {"mode": "all"}, {"mode": None}, {"name": 5}, {"surprise": 1},
        {"name": None}, {"language": "<b>"}, {"language": "x" * 50}, {"name": "<script>alert(1)</script>"},
        {"name": "a" * 81}, {"name": "a\u0000b"}, {"name": "a\u202eb"},
    ],
)  # fmt: skip
def test_rater_with_wrong_field_is_refused(server, change):
    reply = begin(server, **({"rater": change.pop("id")} if "id" in change else {}), **change)
    assert reply.status == 400 and reply.json["error"] in ("malformed", "name")
    assert server.ask("GET", f"/api/raters/{ADA}").status == 404


def test_answer_with_wrong_field_is_refused_and_not_stored(study_folder, study):
    with serving(study_folder) as (server, book):
        begin(server)
        trial = state(server)["trials"][2]
        digests = trial["candidates"]
        of_other = state(server)["trials"][3]["candidates"]
        for change, status in (
            ({"id": "x"}, 400), ({"rater": "b" * 32}, 404), ({"rater": "../x"}, 404), ({"rater": 3}, 400),
            ({"trial": "0" * 12}, 404), ({"trial": ["a"]}, 400), ({"ranking": None}, 400), ({"ranking": {}}, 400),
            ({"ranking": [digests[:-1]]}, 400), ({"ranking": [digests + digests[:1]]}, 400), ({"ranking": [digests, []]}, 400),
            ({"ranking": [of_other]}, 400), ({"ranking": [[1, 2, 3]]}, 400), ({"ranking": [[digests]]}, 400),
            ({"seconds": "1"}, 400), ({"seconds": -1}, 400), ({"seconds": True}, 400),
            ({"seconds": float("nan")}, 400), ({"seconds": float("inf")}, 400), ({"seconds": 10**400}, 400), ({"replaces": 4}, 400), ({"surprise": 1}, 400),
            ({"rater": "\ud800"}, 400),
            ({"replaces": "f" * 32}, 409),
        ):  # fmt: skip
            reply = server.post("/api/answers", {**body_of(trial), **change})
            assert reply.status == status, (change, reply)
        assert count(book) == (1, 0)


def test_answer_of_a_page_that_was_open_for_weeks_is_stored(study_folder):
    with serving(study_folder) as (server, book):
        begin(server)
        trial = state(server)["trials"][0]
        assert server.post("/api/answers", body_of(trial, seconds=30 * 86400)).status == 200
        assert answers_by(book, ADA)[0].seconds == MOST_SECONDS


def test_deleted_or_changed_picture_is_refused_and_named_to_the_operator(study_folder, study, caplog):
    first, second = sorted(study.pictures)[:2]
    with serving(study_folder) as (server, _):
        study_folder.picture(first).unlink()
        study_folder.picture(second).write_bytes(study_folder.picture(sorted(study.pictures)[2]).read_bytes())
        for digest in (first, second):
            reply = server.ask("GET", f"/images/{digest}.png")
            assert (reply.status, reply.json["error"]) == (503, "picture")
            assert str(study_folder.path).encode() not in reply.content
            assert str(study_folder.picture(digest)) in caplog.text


def test_public_url_is_taken_as_host_and_origin_and_others_are_not(study_folder):
    own = {"host": "lab.edu", "origin": "https://lab.edu:8443"}
    rater = {"id": ADA, "name": "", "mode": "full", "language": "en"}
    with serving(study_folder) as (server, _):
        reply = server.ask("GET", "/", host="lab.edu")
        assert reply.status == 421 and "--public-url" in reply.json["message"]
        reply = server.post("/api/raters", rater, **{**own, "host": "localhost"})
        assert reply.status == 403 and "--public-url" in reply.json["message"]
    with serving(study_folder, public_url="https://lab.edu:8443/") as (server, _):
        assert server.ask("GET", "/", host="lab.edu").status == 200
        assert server.post("/api/raters", rater, **own).status == 200
        assert server.post("/api/raters", rater).status == 200  # under its own address
        for origin in (
            "https://lab.edu:1",
            "http://lab.edu:8443",
            "https://evil.example:8443",
            "null",
            "https://[x",
        ):
            assert server.post("/api/raters", rater, **{**own, "origin": origin}).status == 403, origin
        assert server.ask("GET", "/", host="evil.example").status == 421


def test_refused_field_is_named_by_its_path(server):
    begin(server)
    trial = state(server)["trials"][0]
    reply = server.post("/api/answers", {**body_of(trial), "ranking": [[1]]})
    assert (reply.json["error"], reply.json["message"]) == (
        "malformed",
        "Expected `str`, got `int` - at `$.ranking[0][0]`",
    )


def test_bodies_too_long_or_no_object_are_refused(server):
    own = {"content_type": "application/json"}
    for content, status in (
        (b"", 400), (b"{", 400), (b"[]", 400), (b"null", 400), (b"\xff\xfe", 400), (b"[" * 9000, 400), (b'"' + b"x" * 20_000, 413),
    ):  # fmt: skip
        assert server.ask("POST", "/api/answers", content, **own).status == status, content[:20]
    assert server.ask("POST", "/api/answers", b"{}").status == 415
    form = {"content_type": "text/plain"}  # what another site's form could send
    assert server.ask("POST", "/api/answers", b"{}", **form).status == 415
    for method, path in (("PUT", "/api/answers"), ("DELETE", "/"), ("GET", "/api/answers"), ("POST", "/")):
        assert server.ask(method, path).status == 405


def test_posts_of_other_origins_and_foreign_hosts_are_refused(server):
    for origin in ("http://evil.example", "null", f"http://127.0.0.1:{server.port + 1}", "https://127.0.0.1"):
        reply = server.post("/api/raters", {"id": ADA}, origin=origin)
        assert reply.status == 403 and reply.json["error"] == "origin", origin
    assert server.post("/api/raters", {"id": ADA}, sec_fetch_site="cross-site").status == 403
    for host in ("evil.example", f"evil.example:{server.port}", "127.0.0.1.evil.example", ""):
        assert server.ask("GET", "/", host=host).status == 421, host
    for host in (f"localhost:{server.port}", "127.0.0.1", "[::1]:5"):
        assert server.ask("GET", "/", host=host).status == 200, host


def test_request_without_token_is_refused(study_folder, study):
    with serving(study_folder, token="the-secret", loopback=False) as (server, _):
        digest = min(study.pictures)
        for path in (
            "/",
            "/?token=wrong",
            "/?token=",
            "/?token=%C3%A9",
            "/?token=%ff",
            f"/images/{digest}.png",
            f"/api/raters/{ADA}",
        ):
            reply = server.ask("GET", path)
            assert reply.status == 403 and b"the-secret" not in reply.content, path
        assert b"whole link" in server.ask("GET", "/").content
        assert begin(server).status == 403
        page = server.ask("GET", "/?token=the-secret", host="my.lab.example")
        assert page.status == 200 and b"the-secret" not in page.content
        cookie = page.headers["set-cookie"]
        assert "HttpOnly" in cookie and "samesite=lax" in cookie.lower()
        own = {"cookie": cookie.split(";")[0]}
        assert server.ask("GET", f"/images/{digest}.png", **own).status == 200
        assert (
            server.post("/api/raters", {"id": ADA, "name": "", "mode": "full", "language": "en"}, **own).status
            == 200
        )


def test_full_disk_and_read_only_file_are_errors_without_storing(study_folder):
    with serving(study_folder) as (server, book):
        begin(server)
        trial = state(server)["trials"][0]
        book.connection.execute("PRAGMA query_only=1")
        reply = server.post("/api/answers", body_of(trial))
        assert (reply.status, reply.json["error"]) == (503, "read-only")
        assert str(study_folder.path) not in reply.json["message"]
        assert answers_by(book, ADA) == []
        book.connection.execute("PRAGMA query_only=0")
        used = book.connection.execute("PRAGMA page_count").fetchone()[0]
        book.connection.execute(f"PRAGMA max_page_count={used}")  # SQLite's own error of a full disk
        replies = [begin(server, f"{number:032x}", name="x" * 80) for number in range(60)]
        acknowledged = [reply for reply in replies if reply.status == 200]
        refused = [reply for reply in replies if reply.status != 200]
        assert {(reply.status, reply.json["error"]) for reply in refused} == {(507, "full")}
        assert count(book)[0] == 1 + len(acknowledged)
        book.connection.execute("PRAGMA max_page_count=100000")
        assert server.post("/api/answers", body_of(trial)).status == 200


def test_correction_replaces_answer_only_if_it_names_it(server):
    begin(server)
    trial = state(server)["trials"][4]
    assert server.post("/api/answers", body_of(trial, 1)).status == 200
    reversed_ranking = [list(reversed(trial["candidates"]))]
    assert server.post("/api/answers", body_of(trial, 2, ranking=reversed_ranking)).json["error"] == "conflict"
    assert (
        server.post("/api/answers", body_of(trial, 2, ranking=reversed_ranking, replaces=f"{1:032x}")).status
        == 200
    )
    assert json.dumps(sorted(reversed_ranking[0])) == json.dumps(
        state(server)["answers"][trial["id"]]["ranking"][0]
    )


def test_study_of_pairs_refuses_full_mode(study_folder):
    content = json.loads(study_folder.study.read_text())
    study_folder.study.write_text(json.dumps({**content, "mode": "pairs"}))
    with serving(study_folder) as (server, _):
        assert begin(server, mode="full").status == 400
        assert begin(server, mode="pairs").status == 200
        assert {len(trial["candidates"]) for trial in state(server)["trials"]} == {2}
