"""nbgrader's formgrader in a real browser, on a real server, over what the judge wrote into the gradebook."""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from classes import CLASS, CONFIG, NAME, ROOT, book, graded, hand_in, lab, nbgrader
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]

EVIL = "Because <script>alert(1)</script><img src=x onerror=alert(2)> of exp."
PEOPLE = {"anna": CLASS["anna"], "ben": lab({"softmax": "def softmax(x, axis=-1):\n    return x"}, essay=EVIL)}
SECONDS = 60_000  # milliseconds that a step may take on a busy machine


@pytest.fixture(scope="module")
def course(tmp_path_factory) -> Path:
    """A course whose assignment is released, handed in by two, and graded by the judge."""
    course = tmp_path_factory.mktemp("café au lait")
    (course / "nbgrader_config.py").write_text(CONFIG)
    (course / "solutions" / NAME).mkdir(parents=True)
    (course / "solutions" / NAME / f"{NAME}.ipynb").write_text(json.dumps(lab({})))
    nbgrader(course, "generate_assignment", NAME)
    for student, notebook in PEOPLE.items():
        hand_in(course, student, notebook)
    graded(course)
    return course


@pytest.fixture(scope="module")
def formgrader(course: Path, until_it_answers) -> Iterator[str]:
    """The address of a Jupyter server in the course's folder, as `jupyter lab` there starts it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT / "lib"), str(ROOT)]),
        "PATH": str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"],
        "JUPYTER_CONFIG_DIR": str(course / ".jupyter"),
        "OMP_NUM_THREADS": "1",
    }
    log = course / "server.log"
    options = ["--no-browser", f"--port={port}", "--IdentityProvider.token=t", "--ServerApp.port_retries=0"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.append("--allow-root")
    with log.open("w") as written:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyter", "lab", *options],
            cwd=course,
            env=environment,
            stdout=written,
            stderr=written,
        )
        try:
            until_it_answers(f"http://127.0.0.1:{port}/api/status?token=t", process, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(30)


@pytest.fixture
def page(chromium, formgrader) -> Iterator:
    """An instructor's page, logged in. A dialog, which only a student's script would open, fails the test."""
    context = chromium.new_context(viewport={"width": 1200, "height": 900})
    page = context.new_page()
    page.set_default_timeout(SECONDS)
    expect.set_options(timeout=SECONDS)
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.route("**/*", lambda route: route.continue_() if "//127.0.0.1:" in route.request.url else route.abort())
    page.goto(f"{formgrader}/lab?token=t", wait_until="commit")
    yield page
    context.close()
    assert dialogs == []


def shoot(page, name: str) -> None:
    if folder := os.environ.get("ATTNLAB_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def submission_of(course: Path, student: str) -> str:
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        return gradebook.find_submission_notebook(NAME, NAME, student).id


def test_the_pages_show_what_the_judge_wrote(page, formgrader, course):
    page.goto(f"{formgrader}/formgrader/manage_assignments")
    row = page.locator("tr", has=page.get_by_role("link", name=NAME, exact=True))
    row.wait_for()
    expect(row.locator("td.num-submissions")).to_have_text("2")
    shoot(page, "formgrader-assignments")

    page.goto(f"{formgrader}/formgrader/manage_submissions/{NAME}")
    for student in PEOPLE:
        row = page.locator("tr", has=page.get_by_text(student, exact=True))
        row.wait_for()
        total = sum(
            grade[2] for name, grade in book(course)[student].items() if isinstance(grade, tuple) and len(grade) == 4
        )
        expect(row.locator("td.score")).to_have_text(re.compile(rf"^\s*{re.escape(f'{total:g}')}\s*/"))
    shoot(page, "formgrader-submissions")


def test_a_person_grades_by_hand_and_a_regrade_keeps_it(page, formgrader, course):
    page.goto(f"{formgrader}/formgrader/submissions/{submission_of(course, 'ben')}")
    page.wait_for_load_state("networkidle")  # the page fetches the points by itself, over what is filled in before
    page.get_by_text("of exp.").first.wait_for()
    expect(page.get_by_text("0 of 6 points")).to_have_count(2)  # softmax, and what it is used in
    with page.expect_response(lambda answer: "/api/grade/" in answer.url and answer.request.method == "PUT"):
        page.locator("input.score").last.fill("2")
        page.keyboard.press("Tab")
    with page.expect_response(lambda answer: "/api/comment/" in answer.url and answer.request.method == "PUT"):
        page.locator("textarea.comment").last.fill("Why not 3? Ask me.")
        page.keyboard.press("Tab")
    shoot(page, "formgrader-by-hand")
    page.reload()
    expect(page.locator("input.score").last).to_have_value("2")
    graded(course, force=True)
    essay = book(course)["ben"]
    assert essay["essay"][1] == 2 and essay["essay!"][1] == "Why not 3? Ask me."


def test_the_button_autograde_goes_through_the_judge(page, formgrader, course):
    hand_in(course, "çelik", CLASS["çelik"], timestamp="2026-01-02 03:04:05 UTC")
    page.goto(f"{formgrader}/formgrader/manage_submissions/{NAME}")
    row = page.locator("tr", has=page.get_by_text("çelik", exact=True))
    row.wait_for()
    expect(row.locator("td.status")).to_have_text("needs autograding")
    row.locator("td.autograde a").click()
    page.get_by_text("Successfully", exact=False).first.wait_for()
    shoot(page, "formgrader-autograde")
    assert book(course)["çelik"]["softmax"][0] == 0
    assert book(course)["çelik"]["log_softmax"][0] == 5
