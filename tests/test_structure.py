"""The shape of the repository, and the tools that look after it."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from course.imports import modules_of
from course.paths import CHAPTERS, ROOT

STANDARD = sys.stdlib_module_names
# What a learner's notebook needs, and Colab has. Data modules fetch what carries the data inside their functions.
LEARNERS = {"numpy", "torch", "matplotlib", "pytest"}
OPTIONAL_IN_LIBRARY = {"jaxtyping", "babel", "sklearn", "triton", "mlxtend"}
INSTRUCTORS = {"nbgrader", "nbconvert", "nbformat", "traitlets", "IPython"}


def python_files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imported(path: Path) -> set[str]:
    return {module.partition(".")[0] for module in modules_of(path)} - STANDARD - {"__future__"}


def imported_at_start(path: Path) -> set[str]:
    """Only what importing the file imports: not what stands inside its functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kept = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in kept if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in kept if isinstance(node, ast.ImportFrom) and not node.level}
    return {name.partition(".")[0] for name in names} - STANDARD


def test_the_users_shape_is_there():
    for name in ("README.md", "notebooks", "solutions", "autograder", "lib", "environment.yml", "chapters", "lab.py"):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("path", python_files("lib"), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_the_library_imports_nothing_of_ours_and_little_else(path):
    assert imported(path) <= LEARNERS - {"pytest"} | {"attnlab"} | OPTIONAL_IN_LIBRARY
    if path.stem != "triton_kernels":  # gpu_kernels imports it once a kernel is called
        assert imported_at_start(path) <= LEARNERS - {"pytest"} | {"attnlab"}
    if path.stem != "plotting":  # the only module that draws
        assert "matplotlib" not in imported(path)


@pytest.mark.parametrize("path", python_files("autograder"), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_the_autograder_does_not_know_the_course(path):
    assert "course" not in imported(path)


def test_what_a_learner_imports_needs_only_what_colab_has():
    """`from autograder import check`, every exercise and all of attnlab, with everything else hidden."""
    code = f"""
import importlib, importlib.abc, pkgutil, sys
allowed = {sorted(LEARNERS | {"attnlab", "autograder"})!r}

class Hide(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in {sorted(OPTIONAL_IN_LIBRARY | INSTRUCTORS | {"rich", "typer", "jupytext", "nbclient", "beartype"})!r}:
            raise ModuleNotFoundError(f"hidden: {{name}}", name=top)

sys.meta_path.insert(0, Hide())
from autograder import check
from autograder.catalogue import all_exercises
assert list(all_exercises())
import attnlab
for module in pkgutil.walk_packages(attnlab.__path__, "attnlab."):
    if module.name != "attnlab.triton_kernels":
        importlib.import_module(module.name)
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(["lib", "."])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr


def test_chapters_import_of_the_library_only_what_an_earlier_chapter_built():
    """A module of attnlab may be imported once a chapter before this one has an exercise whose reference is in it."""
    always = {"attnlab.plotting", "attnlab.interactive", "attnlab.data"}
    always |= {"attnlab.checkpoint", "attnlab.drawing", "attnlab.pieces", "attnlab.progress"}  # tools, no answers
    built: set[str] = set()
    for path in sorted(CHAPTERS.glob("*.py")):
        mine = {name for name in modules_of(path) if name.startswith("attnlab.")}
        modules = {".".join(name.split(".")[:2]) for name in mine}
        assert modules <= always | built, f"{path.name} is ahead of itself: {sorted(modules - always - built)}"
        built |= exercised(path)


def exercised(chapter: Path) -> set[str]:
    """The modules that a chapter's exercises are about.

    Where a reference stands beside its checks, because it only puts a module of attnlab into the exercise's own form,
    that module is the one whose names the exercise forbids.
    """
    from course.source import Chapter

    modules: set[str] = set()
    for exercise in Chapter(chapter).exercises:
        own = exercise.reference.__module__
        modules.add(own)
        if not own.startswith("attnlab."):
            modules |= {name.rpartition(".")[0] for name in exercise.forbidden if name.startswith("attnlab.")}
    return modules


def test_the_lock_pins_what_pyproject_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = project["dependencies"] + [d for extra in project["optional-dependencies"].values() for d in extra]
    lock = (ROOT / "requirements.lock").read_text() + (ROOT / "requirements-torch.lock").read_text()
    pinned = {line.partition("==")[0].lower() for line in lock.splitlines() if "==" in line and line[0].isalpha()}
    for requirement in asked:
        name = re.match(r"[\w.-]+", requirement)[0].lower()
        assert name in pinned, f"{name} is not in requirements.lock; run: python lab.py lock"


@pytest.mark.parametrize(
    "words",
    [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]],
    ids=lambda words: " ".join(words),
)
def test_the_tools_find_nothing(words):
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_git_does_not_hide_the_library():
    done = subprocess.run(["git", "check-ignore", "lib/attnlab/softmax.py"], capture_output=True, cwd=ROOT)
    assert done.returncode == 1
