"""Where things are."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = ROOT / "chapters"
SOLUTIONS = ROOT / "solutions"
NOTEBOOKS = ROOT / "notebooks"
LIBRARY = ROOT / "lib"
STATE = ROOT / ".attnlab"


def derived(folder: Path, chapter: str) -> Path:
    """``solutions/01_softmax/01_softmax.ipynb``: a notebook in a folder of its own, as nbgrader wants it."""
    return folder / chapter / f"{chapter}.ipynb"


def shown(path: Path) -> str:
    """A path as a reader of the repository knows it."""
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)


def put_own_tools_first() -> None:
    """nbgrader starts `alembic` and JupyterLab starts kernels by name: let them find those beside our Python."""
    own = str(Path(sys.executable).parent)
    if os.environ.get("PATH", "").split(os.pathsep)[0] != own:
        os.environ["PATH"] = own + os.pathsep + os.environ.get("PATH", "")
