"""The language of the product: names and docstrings use the words of the field."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ntire_sr.core.package_files import package_folders

# what is refused -> what to write
PHRASES = {
    r"\bof (its|their|one's|your|my|our) own\b": "separate, or name it",
    r"\bin words\b": "log, warn, or as text",
    r"\b(run|runs|ran|running) apart\b": "samples differ, or diverge",
    r"\b(go|goes|going|went|gone) on\b": "continue, or resume",
    r"\b(begin|begins|began|beginning) anew\b": "train from scratch",
    r"\bwhoever\b": "users, or who it is",
    r"\bthat which\b": "what",
    r"\bin the place of\b": "instead of",
    r"\bat rest\b": "zero latents",
    r"\bdoublings?\b": "upsampling level",
    r"\b(enlarge|enlarges|enlarged|enlarging|enlargement)\b": "upsample",
    r"\b(stand|stands|lie|lies) (beside|behind)\b": "next to, after",
    r"\b(mend|mends|mended)\b": "fix, repair",
    r"\b(trunk|level|sample)[ _']?s? reach\b": "receptive field",
    r"\breduc(e|es|ed|ing) to\b": "downscale to",
    r"\b(beside|behind)\b": "next to, in addition to, after",
    r"\bprox(y|ies)\b": "quality metric",
    r"\bone's own\b": "users', or name it",
    r"(?-i:(^|[.!?] )(Of|That|Those that) )": "a sentence with its subject first",
}
NAMES = {
    r"(^|_)doublings?($|_)": "upsample",
    r"(^|_)enlarged?($|_)": "upsample",
    r"(^|_)(un)?reachable($|_)": "feasible",
    r"(^|_)reach($|_)": "receptive_field",
    r"^at_rest$": "zero_latents",
    r"(^|_)strangers?($|_)": "unexpected",
    r"(^|_)average$": "ema",
    r"(^|_)prox(y|ies)($|_)": "quality_metric",
    r"(^|_)apart($|_)": "distance",
    r"^(seeded|random)$": "generator",
    r"^(whoever|own_code|says|foot|mixed|finer|aside)$": "a noun of the field",
}
LOCALS = {"found", "known", "each", "one", "other"}  # variables are named after the thing


def sources() -> dict[str, Path]:
    """Path inside the package -> file, of every module."""
    return {
        f"{package.replace('.', '/')}/{path.name}": path
        for package, folder in package_folders().items()
        for path in sorted(folder.glob("*.py"))
    }


def docstrings(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


def names(tree: ast.Module) -> Iterator[str]:
    """Names that a module defines: functions, classes, arguments, variables, attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.id if isinstance(node, ast.Name) else node.attr


def local_variables(tree: ast.Module) -> Iterator[str]:
    """Names that functions assign."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    yield node.id


def problems_of(text: str) -> list[str]:
    """Refused names and phrases of a module's source, with what to write instead."""
    tree = ast.parse(text)
    problems = []
    for docstring in docstrings(tree):
        words = " ".join(docstring.split())
        for pattern, better in PHRASES.items():
            problems += [
                f"{match[0]!r}: write {better}" for match in re.finditer(pattern, words, re.IGNORECASE)
            ]
    for name in sorted(set(names(tree))):
        problems += [
            f"name {name}: write {better}" for pattern, better in NAMES.items() if re.search(pattern, name)
        ]
    return problems + [
        f"variable {name}: name it after the thing" for name in sorted(LOCALS & set(local_variables(tree)))
    ]


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ('"""A network of its\nown."""', "'of its own': write separate, or name it"),
        ('def f():\n    """It goes on."""', "'goes on': write continue, or resume"),
        ("class A:\n    doublings = 2", "name doublings: write upsample"),
        ('"""Two figures. Of each, the mean."""', "'. Of ': write a sentence with its subject first"),
        ("def f():\n    for one in (1, 2): pass", "variable one: name it after the thing"),
        ("def f(trunk_reach): pass", "name trunk_reach: write receptive_field"),
    ],
)
def test_refused_words_are_found_in_docstrings_and_names(source, problem):
    assert problems_of(source) == [problem]


def test_ordinary_words_are_not_refused():
    source = 'def double_sides(own):\n    """Double the sides, one by one, apart from the last. Its own and other words."""'
    assert not problems_of(source)


ALLOWED = {"ntire_sr/api/generators.py"}  # has the deprecated argument `allow_unreachable`


@pytest.mark.parametrize("name", sorted(sources().keys() - ALLOWED))
def test_names_and_docstrings_use_the_words_of_the_field(name):
    problems = problems_of(sources()[name].read_text(encoding="utf-8"))
    assert not problems, f"{name}: {'; '.join(problems)}"
