"""README and docs: command lines parse, the commands of README and quickstart run in sequence, links exist."""

import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import TINIEST, photographs
from pages import (
    CHECKS,
    PAGES,
    README,
    ROOT,
    anchors,
    blocks,
    check_ntire_sr,
    check_settings,
    commands,
    links,
    slug,
    spans,
)
from PIL import Image
from write_docs import EXIT_CODES, TEST_VARIABLES, VARIABLES, all_commands, cli, variables_in

EACH_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
COMPLETION = re.compile(r"\b_NTIRE_SR_COMPLETE=(\w+)_source ntire-sr\b")


@EACH_PAGE
def test_command_lines_in_blocks_parse(page):
    for line in commands(page):
        if COMPLETION.search(line):
            continue  # run below
        words = shlex.split(line)
        while "=" in words[0]:  # a variable for this call
            assert words.pop(0).split("=")[0] in VARIABLES, line
        assert words[0] in CHECKS, f"{page.name}: there is no check for: {line}"
        try:
            CHECKS[words[0]](words[1:])
        except (Exception, SystemExit) as error:
            raise AssertionError(f"{page.name}: {line}\n{error}") from error


@EACH_PAGE
def test_commands_in_sentences_exist_with_their_options(page):
    for span in spans(page):
        program, _, rest = span.partition(" ")
        if program not in CHECKS or not rest:
            continue
        words = [word for word in shlex.split(rest) if word != "..."]
        try:
            if program == "ntire-sr":
                check_ntire_sr(words, mention=True)
            elif program != "torchrun" or "..." not in rest:
                CHECKS[program](words)
        except (Exception, SystemExit) as error:
            raise AssertionError(f"{page.name}: `{span}`\n{error}") from error


@EACH_PAGE
def test_options_in_sentences_exist(page):
    of_commands = {
        name: {opt for param in command.params for opt in (*param.opts, *param.secondary_opts)}
        | {*command.former_spellings}
        for name, command in all_commands(cli)
    }
    scripts = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "benchmarks").glob("*.py"))
    of_scripts = set(re.findall(r'"(--[a-z][a-z-]*)"', scripts))
    for span in spans(page):
        first = re.match(r"(?:data check|[\w-]+)\b", span)
        if first and first[0] in of_commands:
            options = of_commands[first[0]]
        elif span.startswith("--"):
            options = set.union({"--help", "--version"}, of_scripts, *of_commands.values())
        else:
            continue
        named = set(re.findall(r"(?<!\S)--[a-z][a-z-]*", span))
        assert named <= options, f"{page.name}: `{span}`"


@EACH_PAGE
def test_settings_in_sentences_are_accepted(page):
    for span in spans(page):
        words = tuple(
            word for word in span.removeprefix("train ").removeprefix("--set ").split() if word != "..."
        )
        if not all(re.fullmatch(r"[a-z][a-z0-9_]*=\S+", word) for word in words):
            continue
        refusals = []
        for model in ("stochastic", "srgan"):
            try:
                check_settings(words, {"model": model})
            except Exception as error:
                refusals.append(f"{model}: {error}")
        assert len(refusals) < 2, f"{page.name}: `{span}`\n" + "\n".join(refusals)


@EACH_PAGE
def test_environment_variables_in_pages_are_read_by_the_code(page):
    named = set(re.findall(r"(?<!_)NTIRE_SR_[A-Z0-9_]*[A-Z0-9]", page.read_text(encoding="utf-8")))
    assert named <= VARIABLES.keys() | TEST_VARIABLES.keys(), page


def test_described_test_variables_are_read_by_the_tests():
    assert variables_in("tests") >= TEST_VARIABLES.keys()


def test_completion_lines_of_the_reference_work(ntire_sr_command, monkeypatch):
    shells = [
        shell
        for block in blocks(ROOT / "docs" / "reference.md")
        for line in block.commands
        for shell in COMPLETION.findall(line)
    ]
    assert shells == ["bash", "zsh", "fish"]
    monkeypatch.setattr(sys.modules["__main__"], "__package__", None)  # as in the script that pip installs
    for shell in shells:
        monkeypatch.setenv("_NTIRE_SR_COMPLETE", f"{shell}_source")
        result = ntire_sr_command()
        assert result.code == 0 and f"_NTIRE_SR_COMPLETE={shell}_complete" in result.out
    monkeypatch.setenv("_NTIRE_SR_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "ntire-sr generate --sam")
    monkeypatch.setenv("COMP_CWORD", "2")
    assert ntire_sr_command().out == "plain,--samples\n"


# ---- the commands of README and quickstart, run in their order

# further options that make the commands cheap: of an option given twice the last one counts
SMALL = {
    "train": [
        "--steps=2",
        *(f"--set={key}={value}" for key, value in TINIEST.items() if key not in ("steps", "model")),
    ],
    "generate": ["--samples", "2"],
}
SMALL_STOCHASTIC = [
    f"--set={name}={value}"
    for name, value in {"growth": 4, "groups": 1, "fine_channels": 4, "latent_channels": 2}.items()
]


def write_png(path: Path, image: np.ndarray) -> None:
    """Write an (H, W, 3) image of 8 bits into a folder that may not be there yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def run_all(lines: list[str], ntire_sr_command) -> dict[str, str]:
    """Run command lines, made cheap by SMALL; return what each command printed, by its name."""
    printed = {}
    for line in lines:
        program, name, *words = shlex.split(line)
        assert program == "ntire-sr"
        small = SMALL.get(name, [])
        if name == "train" and "--model" not in words:
            small = [*small, *SMALL_STOCHASTIC]
        result = ntire_sr_command(name, *words, *small)
        assert result.code == 0, f"{line}\n{result.out}{result.err}"
        printed.setdefault(name, result.out)
    return printed


def table_rows(page: Path) -> Iterator[tuple[str, str]]:
    """Yield (label, last column) of the rows of a score's table on a page."""
    for block in blocks(page):
        for line in block.lines:
            if line.startswith("│"):
                label, _, says = (cell.strip() for cell in line.strip("│").split("│"))
                yield label, says


def test_readme_and_quickstart_commands_run_in_an_empty_folder(
    tmp_path, monkeypatch, small_validation, ntire_sr_command
):
    monkeypatch.chdir(tmp_path)
    lines = commands(README, "First samples", "Score any folder", "The four commands")
    names = [line.split()[1] for line in lines]
    assert names == ["generate", "score", "train", "generate", "score", "package"]
    printed = run_all(lines, ntire_sr_command)
    # the output in README is what is printed, except for the numbers
    assert "4 samples written, 0 kept, in samples" in printed["generate"]
    assert "drawn by stochastic, weights that come with the package: " in printed["generate"]
    rows = list(table_rows(README))
    assert len(rows) == 5
    for label, says in rows:
        label = label.replace("S_10", "S_2")
        assert any(label in line and says in line for line in printed["score"].split("\n")), label
    assert (tmp_path / "score" / "report.html").is_file()

    quickstart = commands(ROOT / "docs" / "quickstart.md")
    tested = [
        line for line in quickstart if line in lines or line.startswith(("ntire-sr train", "ntire-sr demo"))
    ]
    assert {line.split()[1] for line in tested} == {"train", "demo", "generate", "score", "package"}
    printed = run_all([line for line in quickstart if line not in tested], ntire_sr_command)
    assert printed["verify"].endswith("PASS\n") and "3 drawn again and found the same" in printed["verify"]


def test_readme_commands_for_own_data_run(tmp_path, monkeypatch, photograph, ntire_sr_command):
    monkeypatch.chdir(tmp_path)
    write_png(tmp_path / "DIV2K_train_HR" / "0001.png", photographs(every=24)[0][:96, :128])
    write_png(tmp_path / "DIV2K_valid_HR" / "0801.png", photograph)
    (tmp_path / "team.json").write_text(json.dumps({"team": "A team"}), encoding="utf-8")
    lines = commands(README, "Your own data")
    assert lines[0].startswith("ntire-sr data check") and lines[-1].startswith("ntire-sr verify")
    printed = run_all(lines, ntire_sr_command)
    assert printed["verify"].endswith("PASS\n")
    assert "Team name" not in printed["package"]  # team.json was read: this is no blank


def test_commands_for_another_programs_images_run(tmp_path, monkeypatch, photograph, ntire_sr_command):
    monkeypatch.chdir(tmp_path)
    for name in ("0801", "0802"):
        image = np.ascontiguousarray(photograph[:64, : 80 + 8 * int(name[-1])])
        write_png(tmp_path / "HR" / f"{name}.png", image)
        write_png(tmp_path / "theirs" / f"{name}_rlt.png", image // 8 * 8)  # similar, but not LR-exact
    page = ROOT / "docs" / "other-programs.md"
    lines = commands(page, "From images to an upload")
    assert [line.split()[1] for line in lines] == ["downscale", "project", "score", "package", "verify"]
    printed = run_all(lines, ntire_sr_command)
    assert "2 images projected, 0 kept, in exact" in printed["project"]
    assert printed["verify"].endswith("PASS\n") and (tmp_path / "theirs.zip").is_file()
    # the table of the page, without its numbers
    shown = [line for block in blocks(page) for line in block.lines if line.startswith("│")]
    labels = [line.split("│")[1].strip() for line in shown]
    assert labels == ["worst, dB", "median, dB", "samples under 45 dB"]
    assert all(label in printed["project"] for label in labels)


def test_exit_codes_are_those_of_the_reference(tmp_path, monkeypatch, photograph, ntire_sr_command):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    write_png(tmp_path / "HR" / "0801.png", photograph)  # a forbidden name
    codes = {
        0: ntire_sr_command("--version").code,
        1: ntire_sr_command("data", "check", "--hr", tmp_path / "HR").code,
        2: ntire_sr_command("generate", "--lr", tmp_path / "nowhere").code,
    }
    monkeypatch.setattr(cli, "main", interrupted)
    codes[130] = ntire_sr_command("doctor").code
    assert codes == {code: code for code in EXIT_CODES}


# ---- links


@EACH_PAGE
def test_links_lead_to_existing_files_and_headings(page):
    for target in links(page):
        if re.match(r"https?://", target):
            continue
        file, _, anchor = target.partition("#")
        path = (page.parent / file).resolve() if file else page
        assert path.is_relative_to(ROOT.resolve()), f"{page.name}: {target} lies outside of the project"
        assert path.is_file(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(path), (
            f"{page.name}: {target}; there are {sorted(anchors(path))}"
        )


def test_every_page_can_be_reached_from_the_readme():
    reached, waiting = set(), [README]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        waiting += [
            (page.parent / target.partition("#")[0]).resolve() for target in links(page) if ":" not in target
        ]
    assert {path.resolve() for path in PAGES} <= {path.resolve() for path in reached | {README}}
    shown = {(page.parent / target).resolve() for page in PAGES for target in links(page)}
    assert {path.resolve() for path in (ROOT / "docs").glob("*.jpg")} <= shown, "a picture is shown nowhere"


def test_docs_index_lists_every_page():
    index = ROOT / "docs" / "README.md"
    listed = {target.partition("#")[0] for target in links(index)}
    assert {path.name for path in index.parent.glob("*.md")} - {"README.md"} <= listed


def test_anchors_follow_githubs_rule():
    assert slug("ntire-sr verify FILE...|DIR") == "ntire-sr-verify-filedir"
    assert slug("What `S_10` says, [here](x.md)") == "what-s_10-says-here"
