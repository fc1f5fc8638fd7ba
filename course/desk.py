"""The learner's desk: JupyterLab, set up for the course and for nobody to disturb it."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

from course import paths

START = "00_start"
START_PAGE = """\
# Attention Lab

{greeting}

{road}

{hint}
"""
FIRST_TIME = """\
**Welcome.** In a few weeks you will have built a Transformer, every line of it. The first step is a tour of five
minutes, [Start here]({tour}): how a notebook works, and your first exercise passed.
"""
AGAIN = """\
**Welcome back.** A notebook that is opened again has forgotten what it ran. Click into the cell where you go on, and
choose *Run › Run All Above Selected Cell*.
"""
HINT = """\
Every chapter is a notebook; the list on the left has them, too. This page is made anew whenever the course is opened;
in a notebook, `progress()` shows how it stands now. Before you hand a notebook in, run `check_all()` in it.
The [tour]({tour}) is there whenever you want it again.
"""
SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
    "@jupyterlab/apputils-extension:themes": {"adaptive-theme": True},  # light or dark as the system is
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "defer"},
    "@jupyterlab/docmanager-extension:plugin": {"defaultViewers": {"markdown": "Markdown Preview"}},  # pages are read
}
# nbgrader's own buttons are for instructors; without its exchange they greet a student with an error.
QUIET = {"disabledExtensions": {"@jupyter/nbgrader": True}}


def prepare() -> Path:
    """Write the settings into a folder of ours, and nothing into the learner's home."""
    folder = paths.STATE / "jupyter"
    lab = folder / "labconfig"
    lab.mkdir(parents=True, exist_ok=True)
    (lab / "default_setting_overrides.json").write_text(json.dumps(SETTINGS), encoding="utf-8")
    (lab / "page_config.json").write_text(json.dumps(QUIET), encoding="utf-8")
    return folder


def start_page(folder: Path = paths.NOTEBOOKS) -> Path:
    """Make the page that the course opens with: what is done, and what comes next, a click away.

    A page of text, so that it shows at once, without a kernel. Where it cannot be written, the tour stands in for it.
    """
    from autograder import road

    found, tour = road.road(), paths.derived(folder, START)
    words = {"tour": tour.relative_to(folder).as_posix()}
    text = START_PAGE.format(
        greeting=(AGAIN if found.last else FIRST_TIME).format(**words).strip(),
        road=found.page(to_notebooks=""),
        hint=HINT.format(**words).strip(),
    )
    page = folder / "START.md"
    try:
        page.write_text(text, encoding="utf-8", newline="\n")
    except OSError:
        return tour
    return page


def command(page: Path, browser: bool, port: int, root: Path = paths.ROOT) -> list[str]:
    """The words that start JupyterLab at a page below ``root``."""
    address = "/lab/tree/" + quote(page.relative_to(root).as_posix())
    words = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={root}", f"--ServerApp.port={port}"]
    words += [f"--LabApp.default_url={address}", "--ServerApp.answer_yes=True"]  # Ctrl-C ends it, without a question
    words += ["--ServerApp.log_level=WARN", "--LabApp.log_level=WARN"]  # what is left names the address
    # Which tabs were open is kept here: in the learner's home it would mix with that of their other work.
    words += [f"--LabApp.workspaces_dir={paths.STATE / 'jupyter' / 'workspaces'}"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        words.append("--allow-root")
    return words if browser else [*words, "--no-browser"]


def environment() -> dict[str, str]:
    """Ours for the kernels: the course on their path, one thread, our settings for JupyterLab."""
    found = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(paths.LIBRARY), str(paths.ROOT)]),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
    }
    own = [str(prepare()), os.environ.get("JUPYTER_CONFIG_PATH", "")]
    return found | {"JUPYTER_CONFIG_PATH": os.pathsep.join(filter(None, own))}


def open_lab(page: Path, browser: bool, port: int) -> int:
    """Run JupyterLab until it is closed."""
    process = subprocess.Popen(command(page, browser, port), env=environment(), cwd=paths.ROOT)
    while True:
        with contextlib.suppress(KeyboardInterrupt):  # which reaches JupyterLab too: it closes its kernels, then ends
            return process.wait()
