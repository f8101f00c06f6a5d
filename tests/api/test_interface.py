"""The names that `import ntire_sr` offers, and the page that promises them."""

import ast
import doctest
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ntire_sr

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "python.md"
NAMES = {
    "SampleSetMetric",
    "downscale",
    "list_models",
    "load",
    "lpips",
    "lr_psnr",
    "project",
    "project_float",
    "score_samples",
}


def test_import_and_dir_load_neither_torch_nor_numpy():
    program = (
        "import sys, ntire_sr; names = dir(ntire_sr); assert set(ntire_sr.__all__) <= set(names)\n"
        "print([name for name in ('torch', 'numpy', 'ntire_sr.api') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_interface_has_these_names_and_each_has_a_docstring():
    assert set(ntire_sr.__all__) == NAMES
    for name in NAMES:
        value = getattr(ntire_sr, name)
        assert value.__module__.startswith("ntire_sr."), name
        assert inspect.getdoc(value), name
    mistyped = "downscle"
    with pytest.raises(AttributeError, match="module 'ntire_sr' has no attribute 'downscle'"):
        getattr(ntire_sr, mistyped)
    with pytest.raises(ImportError, match=mistyped):
        exec(f"from ntire_sr import {mistyped}")


def test_earlier_name_of_the_metric_works_with_a_warning():
    with pytest.warns(DeprecationWarning, match=r"SpaceMetric is deprecated; use ntire_sr\.SampleSetMetric"):
        metric = ntire_sr.SpaceMetric
    assert metric is ntire_sr.SampleSetMetric and "SpaceMetric" not in dir(ntire_sr)


def test_type_checkers_see_the_modules_that_define_the_names():
    tree = ast.parse((ROOT / "toolkit" / "__init__.py").read_text(encoding="utf-8"))
    checked = next(node for node in tree.body if isinstance(node, ast.If))
    assert ast.unparse(checked.test) == "TYPE_CHECKING"
    seen = {alias.name: node.module for node in checked.body for alias in node.names}
    assert seen == {name: getattr(ntire_sr, name).__module__ for name in NAMES}
    assert (Path(ntire_sr.__file__).parent / "py.typed").read_bytes() == b""


@pytest.mark.parametrize("name", sorted(NAMES))
def test_docstring_of_every_name_has_an_example_with_a_number(name):
    examples = doctest.DocTestParser().get_examples(inspect.getdoc(getattr(ntire_sr, name)))
    assert any(re.search(r"\d", example.want) for example in examples), name


@pytest.mark.parametrize("name", sorted(NAMES - {"SampleSetMetric"}))
def test_arguments_and_results_have_types(name):
    parameters = inspect.signature(getattr(ntire_sr, name))
    assert parameters.return_annotation is not inspect.Signature.empty
    assert all(
        argument.annotation is not inspect.Parameter.empty for argument in parameters.parameters.values()
    )


def test_page_lists_the_names_with_their_first_arguments():
    rows = dict(re.findall(r"^\| `(\w+)\(([\w, ]*)\)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    assert rows.keys() == NAMES
    for name, words in rows.items():
        arguments = [word for word in words.split(", ") if word]
        assert list(inspect.signature(getattr(ntire_sr, name)).parameters)[: len(arguments)] == arguments, name


# ---- the examples of the page, in two parts, the second of which needs AlexNet's weights


def run(text: str, names: dict) -> None:
    test = doctest.DocTestParser().get_doctest(text, names, PAGE.name, str(PAGE), 0)
    assert len(test.examples) >= 4
    output: list[str] = []
    runner = doctest.DocTestRunner()
    runner.run(test, out=output.append, clear_globs=False)
    names.update(test.globs)
    assert runner.failures == 0, "".join(output)


@pytest.fixture(scope="module")
def names() -> dict:
    return {}


def part(first: bool) -> str:
    before, heading, after = PAGE.read_text(encoding="utf-8").partition("## Measure\n")
    assert heading
    text = before if first else after
    return re.sub(r"^```.*$", "", text, flags=re.MULTILINE)


def test_readme_example_gives_the_printed_results():
    _, heading, section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## From Python\n")
    assert heading
    run(re.sub(r"^```.*$", "", section.partition("\n## ")[0], flags=re.MULTILINE), {})


def test_page_examples_give_the_printed_results(names):
    run(part(first=True), names)


def test_page_examples_that_measure_give_the_printed_results(names, alexnet, monkeypatch):
    if "samples" not in names:  # run without the first part
        run(part(first=True), names)
    monkeypatch.setenv("NTIRE_SR_LPIPS_WEIGHTS", str(alexnet))
    run(part(first=False), names)
