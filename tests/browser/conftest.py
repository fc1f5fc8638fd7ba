"""A real Chromium, and a real JupyterLab on a copy of the notebooks."""

import json
import os
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from autograder import record
from course import browser, desk, paths


@pytest.fixture(scope="module")  # playwright keeps an event loop running, in which nobody else can run one
def chromium():
    """The browser. Without one these tests are skipped, with CI=true they fail."""
    found = browser.chromium()
    if not found:
        if os.environ.get("CI") == "true":
            pytest.fail("no Chromium; `python lab.py test` installs it where it may")
        pytest.skip("no Chromium on this machine (on Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=found, args=browser.arguments())
        yield running
        running.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory) -> Iterator[tuple[str, Path]]:
    """A JupyterLab, started as `python lab.py` starts it, in a folder with a space and an é: address and folder."""
    root = tmp_path_factory.mktemp("café au lait")
    shutil.copytree(paths.NOTEBOOKS, root / "notebooks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    page = paths.derived(root / "notebooks", desk.START)
    log = (root / "lab.log").open("w")
    process = subprocess.Popen(
        [*desk.command(page, browser=False, port=port, root=root), "--IdentityProvider.token=t"],
        env=desk.environment() | {record.SETTING: str(root / "progress.jsonl")},
        stdout=log,
        stderr=log,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{address}/api/status?token=t", process, root / "lab.log")
        yield address, root
    finally:
        process.terminate()
        process.wait(30)
        log.close()


@pytest.fixture
def lab(server: tuple[str, Path]) -> str:
    """The address of JupyterLab, as a student finds it: notebooks as released, no kernel running."""
    address, root = server
    with urllib.request.urlopen(f"{address}/api/sessions?token=t") as answer:
        sessions = [session["id"] for session in json.load(answer)]
    for session in sessions:
        request = urllib.request.Request(f"{address}/api/sessions/{session}?token=t", method="DELETE")
        urllib.request.urlopen(request).close()
    shutil.copytree(paths.NOTEBOOKS, root / "notebooks", dirs_exist_ok=True)
    return address


def wait_for(address: str, process: subprocess.Popen, log: Path) -> None:
    """Until the server answers; the log, if it dies first."""
    while process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=60):
                return
        except (urllib.error.URLError, ConnectionError):
            pass
    pytest.fail(f"JupyterLab ended: {log.read_text()[-2000:]}")


@pytest.fixture(scope="session")
def until_it_answers():
    """``wait_for``, for tests with a server of their own."""
    return wait_for
