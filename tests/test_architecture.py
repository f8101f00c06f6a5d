"""The shape of the project: what imports what, what is packaged, what is documented."""

import ast
import configparser
import doctest
import importlib
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import click
import pytest

from ntire_sr.commands.cli import cli
from ntire_sr.core.package_files import package_files, package_folders

ROOT = Path(__file__).parents[1]
# Lower layers first. A package imports from itself and from packages of lower layers, never from its neighbours.
LAYERS = [
    {"core"},
    {"challenge"},
    {"samples"},
    {"models", "evaluation.metrics"},
    {"data"},
    {"sampling", "training", "evaluation.scoring"},
    {"evaluation.pages"},
    {"evaluation.score_folder"},
    {"submission", "study", "api", "losses"},
    {"commands"},
    {"__main__"},
]
# pairs that are not allowed although the second package lies lower
FORBIDDEN = {("submission", "training"), ("api", "training"), ("commands", "api")}


def modules() -> dict[str, Path]:
    """Full module name -> file."""
    paths = {}
    for package, folder in package_folders().items():
        for path in folder.glob("*.py"):
            paths[package if path.stem == "__init__" else f"{package}.{path.stem}"] = path
    return paths


def imports(path: Path) -> set[str]:
    """Full names of the modules of this package that a file imports, wherever in the file."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("ntire_sr"):
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names if alias.name.startswith("ntire_sr")}
    return names & modules().keys() - {"ntire_sr"}


def package_of(module: str) -> str:
    """The package of a layer that a module belongs to: `models` of `ntire_sr.models.rrdb`."""
    parts = module.split(".")
    return ".".join(parts[1:3]) if parts[1] == "evaluation" else parts[1]


def layer(module: str) -> int:
    return next(number for number, packages in enumerate(LAYERS) if package_of(module) in packages)


def test_imports_point_to_lower_layers():
    upward = []
    for module, path in modules().items():
        if module in ("ntire_sr", "ntire_sr._version", "ntire_sr.evaluation"):
            continue
        for imported in sorted(imports(path) - {"ntire_sr._version"}):
            package, lower = package_of(module), package_of(imported)
            if lower != package and (layer(imported) >= layer(module) or (package, lower) in FORBIDDEN):
                upward.append(f"{module} imports {imported}")
    assert not upward, "\n".join(upward)


def circles(imported: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other, directly or through others of the group."""
    reached = {module: set(names) for module, names in imported.items()}
    for middle in imported:
        for names in reached.values():
            if middle in names:
                names |= reached[middle]
    groups = {
        frozenset(module_of_circle for module_of_circle in names if module in reached[module_of_circle])
        for module, names in reached.items()
        if module in names
    }
    return sorted(map(sorted, groups))


def test_circles_are_found():
    imported = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": {"f"}, "f": set()}
    assert circles(imported) == [["a", "b", "c"]]


def test_no_modules_import_each_other_in_a_circle():
    # `imports` also sees imports inside functions
    assert circles({module: imports(path) for module, path in modules().items()}) == []


def test_metric_files_import_no_other_metric_file():
    package = "ntire_sr.evaluation.metrics"
    shared = {f"{package}.base", f"{package}.declarations"}
    metrics = {
        name for name in imports(modules()[f"{package}.registry"]) if name.startswith(f"{package}.")
    } - shared
    assert f"{package}.lpips" in metrics
    for module, path in modules().items():
        if module.startswith(f"{package}.") and module != f"{package}.registry":
            assert not (imports(path) & metrics) - {module}, module


def test_package_init_files_import_nothing():
    # a name that is passed on here would load torch at --help; those of the Python interface are loaded by functions
    for package, folder in package_folders().items():
        for node in ast.parse((folder / "__init__.py").read_text(encoding="utf-8")).body:
            if package != "ntire_sr":
                assert isinstance(node, ast.Expr | ast.Assign), package
            elif isinstance(node, ast.ImportFrom):
                assert node.module in ("importlib", "typing", "_version")
            else:
                checked_only = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
                assert checked_only or isinstance(node, ast.Expr | ast.Assign | ast.FunctionDef)


def test_no_module_imports_torchvision_or_the_lpips_package():
    for path in modules().values():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & {"torchvision", "lpips"}, path


def test_every_package_folder_is_listed():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert set(config["options"]["packages"].split()) == package_folders().keys()
    # nothing of the package lies in a folder that is none of its packages
    for top in ("toolkit", "models", "evaluation", "submission"):
        for path in (ROOT / top).rglob("*.py"):
            assert path.parent in package_folders().values(), path


def test_wheel_contains_exactly_the_modules_and_templates(tmp_path):
    import shutil

    source = tmp_path / "source"  # built from a copy, so that no build folder is left in the checkout
    for name in ("toolkit", "models", "evaluation", "submission"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(tmp_path),
        str(source),
    ]
    subprocess.run(command, check=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        packed = {name for name in wheel.namelist() if not name.split("/")[0].endswith(".dist-info")}
    assert packed == {name for name, _ in package_files()}


@pytest.mark.parametrize("module", sorted(modules().keys() - {"ntire_sr.__main__"}))
def test_docstring_examples_give_the_printed_results(module):
    assert doctest.testmod(importlib.import_module(module)).failed == 0


@pytest.mark.parametrize("module", sorted(modules()))
def test_modules_and_public_functions_have_docstrings(module):
    tree = ast.parse(modules()[module].read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), module
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            if "overload" in map(ast.unparse, node.decorator_list):
                continue  # a form of the function below
            assert ast.get_docstring(node), f"{module}.{node.name}"


def test_clone_without_installation_explains_how_to_install():
    result = subprocess.run([sys.executable, "-S", "-m", "toolkit"], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr.startswith("ntire-sr is not installed; run: pip install .")
    assert len(result.stderr.splitlines()) == 1


def test_options_have_help_and_show_defaults():
    from write_docs import all_commands

    for name, command in all_commands(cli):
        assert command.help, name
        for option in command.params:
            if isinstance(option, click.Argument):
                assert option.metavar, f"{name} {option.name}"
                continue
            assert option.help, f"{name} {option.name}"
            assert option.show_default or option.required, f"{name} {option.name}"


def test_generated_pages_equal_the_code():
    from write_docs import PAGES

    for path, write in PAGES.items():
        assert path.read_text(encoding="utf-8") == write(), "run: python tests/write_docs.py"


def test_readme_names_every_command_and_links_to_existing_files():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    from write_docs import all_commands

    for name, _ in all_commands(cli):
        assert f"ntire-sr {name}" in readme, name
    for target in re.findall(r"\]\(([^)#]+)\)", readme) + re.findall(r'src="([^"]+)"', readme):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_the_changelog_names_the_version():
    from ntire_sr._version import __version__

    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert __version__ in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
