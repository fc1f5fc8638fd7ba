"""The first code cell, where it matters: an interpreter with a stand-in google.colab, and only the notebook at hand."""

import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import nbformat
import pytest

from course import colab, paths
from course.environment import venv_python
from course.source import chapters_in, solved_notebook

NOTEBOOK = paths.derived(paths.NOTEBOOKS, "00_start")
CELLS = [cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
ANSWER = "def halfway(a, b):\n    return (a + b) / 2"
COURSE = f"import sys\nsys.path.insert(0, {str(paths.ROOT)!r})\nfrom course import colab\n"
RUN_ALL = """
import json, sys
from pathlib import Path
from IPython.core.interactiveshell import InteractiveShell
if "colab" in sys.argv:
    import google.colab
shell = InteractiveShell.instance()
for source in json.loads(Path("cells.json").read_text("utf-8")):
    if not shell.run_cell(source, store_history=True).success:
        break
"""


def run(*words: str, cwd: Path, python: Path | str = sys.executable, **environment: str) -> str:
    """What a fresh interpreter prints, which has the packages of this one, and nothing of the course."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PIP_"))}
    done = subprocess.run(
        [str(python), *words], cwd=cwd, env=kept | environment, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def git(*words: str, cwd: Path) -> None:
    author = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *author, *words], cwd=cwd, check=True, capture_output=True)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a clone brings: the course as it stands here, committed."""
    root = tmp_path_factory.mktemp("origin") / "attention lab"
    for folder in ("lib", "autograder", "course"):
        for source in (paths.ROOT / folder).rglob("*.py"):
            target = root / source.relative_to(paths.ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    (root / "pyproject.toml").write_bytes((paths.ROOT / "pyproject.toml").read_bytes())
    git("init", "--quiet", cwd=root)
    git("add", ".", cwd=root)
    git("commit", "--quiet", "--message", "The course", cwd=root)
    return root


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment of its own, with pip. Its packages are this one's; the course is not among them."""
    folder = tmp_path_factory.mktemp("colab") / "env"
    venv.create(folder, with_pip=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    site.joinpath("packages.pth").write_text(sysconfig.get_path("purelib") + "\n", "utf-8")
    stand_in = site / "google" / "colab"
    stand_in.mkdir(parents=True)
    stand_in.joinpath("__init__.py").write_text("", "utf-8")
    return Path(venv_python(folder))


def session(folder: Path, python: Path, address: Path, *words: str) -> str:
    """Run all cells of the start page, its exercise solved, in a folder that holds nothing else."""
    cells = [source.replace(colab.address(), str(address)) for source in CELLS]
    cells = [ANSWER if "def halfway" in source else source for source in cells]
    folder.joinpath("cells.json").write_text(json.dumps(cells), "utf-8")
    return run("-P", "-c", RUN_ALL, *words, cwd=folder, python=python, IPYTHONDIR=str(folder / "ipython"))


def test_every_notebook_has_the_cell_once_as_its_first_code():
    for chapter in chapters_in(paths.CHAPTERS):
        notebook = solved_notebook(chapter)
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert code[0].source.startswith("# @title On Google Colab") and colab.address() in code[0].source
        assert sum("google.colab" in cell.source for cell in code) == 1
        assert notebook.cells[0].cell_type == "markdown", "the title comes first"
        assert {"demo", "remove-cell"} <= set(code[0].metadata.tags)


def test_a_chapter_with_dates_brings_what_carries_them():
    assert 'set_up("babel")' in colab.cell({"attnlab.data.dates", "numpy"})
    assert "set_up()" in colab.cell({"attnlab.data.grammar"})


@pytest.mark.parametrize("module", colab.CARRIERS)
def test_the_carriers_are_what_the_project_asks_for(module):
    asked = tomllib.loads((paths.ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    assert any(requirement.startswith(colab.CARRIERS[module] + ">=") for requirement in asked["data"])


@pytest.mark.slow
def test_on_colab_the_notebook_alone_is_enough(tmp_path, fresh, repository):
    said = session(tmp_path, fresh, repository, "colab")
    assert "The course is here." in said
    assert said.count("✓") == 3, said
    clone = tmp_path / "attention-lab"
    assert (clone / ".git").is_dir()
    marker = clone / "kept"
    marker.touch()
    assert "The course is here." in session(tmp_path, fresh, repository, "colab")
    assert marker.exists(), "a second run of the cell fetches nothing"


@pytest.mark.slow
def test_a_fetch_that_was_stopped_half_way_is_made_anew(tmp_path, fresh, repository):
    (tmp_path / "attention-lab" / "lib").mkdir(parents=True)
    assert session(tmp_path, fresh, repository, "colab").count("✓") == 3


@pytest.mark.slow
def test_where_nothing_can_be_fetched_one_sentence_says_so(tmp_path, fresh):
    said = re.sub(r"\x1b\[\d+m", "", session(tmp_path, fresh, tmp_path / "nowhere", "colab"))
    assert "SystemExit: The course could not be fetched: see that the network is there" in said
    assert "nowhere" in said and "Traceback" not in said
    assert not list(tmp_path.glob("attention-lab*"))


FULL = "#!/bin/sh\necho 'error: unable to write file' >&2\necho 'fatal: No space left on device' >&2\nexit 128\n"


@pytest.mark.parametrize(
    ("git_is", "why"), [("", "No such file or directory: 'git'"), (FULL, "No space left on device")]
)
@pytest.mark.skipif(os.name == "nt", reason="the git that stands in is a shell script")
def test_without_git_or_with_a_full_disk_one_sentence_says_so(tmp_path, git_is, why):
    tools = tmp_path / "tools"
    tools.mkdir()
    if git_is:
        (tools / "git").write_text(git_is)
        (tools / "git").chmod(0o755)
    code = f"import sys; sys.modules['google.colab'] = sys\ntry:\n    exec({CELLS[0]!r})\n"
    said = run("-P", "-c", code + "except SystemExit as error:\n    print(error)", cwd=tmp_path, PATH=str(tools))
    assert said.startswith("The course could not be fetched: see that") and why in said
    assert said.count("\n") == 1 and not list(tmp_path.glob("attention-lab*"))


def test_anywhere_else_the_cell_does_nothing(tmp_path):
    code = f"import sys; before = list(sys.path)\n{CELLS[0]}\nassert sys.path == before and 'course' not in sys.modules"
    assert run("-P", "-c", code, cwd=tmp_path) == ""
    assert list(tmp_path.iterdir()) == []


def wheel(folder: Path, name: str) -> None:
    """A package with nothing in it."""
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as file:
        file.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Dist: numpy<1\n"
        )
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", f"{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")


@pytest.mark.slow
def test_only_what_is_missing_is_installed_and_nothing_with_it(tmp_path, fresh):
    wheel(tmp_path, "carrier")
    code = f"{COURSE}colab.set_up('numpy', 'carrier')"
    index = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)}
    numpy = "import numpy; print(numpy.__version__)"
    before = run("-c", numpy, cwd=tmp_path, python=fresh)
    assert run("-c", code, cwd=tmp_path, python=fresh, **index).strip() == "The course is here. Installed: carrier."
    assert run("-c", numpy, cwd=tmp_path, python=fresh) == before
    assert run("-c", code, cwd=tmp_path, python=fresh, **index).strip() == "The course is here."


@pytest.mark.slow
def test_what_cannot_be_installed_is_said_in_one_sentence(tmp_path, fresh):
    code = f"{COURSE}try:\n    colab.set_up('no-such-carrier')\nexcept SystemExit as error:\n    print(error)"
    said = run("-c", code, cwd=tmp_path, python=fresh, PIP_NO_INDEX="1")
    assert said.startswith("The course is here, but no-such-carrier, which brings this chapter's data, could not be")
    assert "pip said: ERROR: " in said and said.count("\n") == 1


def test_the_link_to_colab_follows_the_address(monkeypatch):
    page = "notebooks/00_start/00_start.ipynb"
    monkeypatch.setattr(colab, "address", lambda: "https://github.com/ada/fork.git")
    assert colab.link(page) == f"https://colab.research.google.com/github/ada/fork/blob/main/{page}"
    monkeypatch.setattr(colab, "address", lambda: "https://git.example.org/ada/fork")
    assert colab.link(page) == ""
