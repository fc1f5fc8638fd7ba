"""The first minute and the hundredth day: the start page in a real JupyterLab, and where its link leads."""

import os
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from learner import SECONDS, Notebook

from autograder import catalogue, record
from course import desk

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def notes(server, monkeypatch) -> Path:
    """The record that the kernels of this JupyterLab keep; empty."""
    path = server[1] / "progress.jsonl"
    path.unlink(missing_ok=True)
    monkeypatch.setenv(record.SETTING, str(path))
    return path


@pytest.fixture(params=["light", "dark"])
def page(chromium, request):
    context = chromium.new_context(viewport={"width": 1300, "height": 1000}, color_scheme=request.param)
    page = context.new_page()
    page.theme = request.param
    page.set_default_timeout(SECONDS)
    yield page
    context.close()


def opened(page, lab: str, root: Path):
    """The start page as `attnlab open` makes it, in JupyterLab."""
    made = desk.start_page(root / "notebooks")
    page.goto(f"{lab}/lab/tree/notebooks/{made.name}?token=t&reset", wait_until="domcontentloaded")
    shown = page.locator(".jp-MarkdownViewer")
    shown.get_by_role("table").wait_for()
    return shown


def shoot(page, name: str) -> None:
    """A picture for whoever wants to look: ATTNLAB_SCREENSHOTS names the folder."""
    if folder := os.environ.get("ATTNLAB_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{name}-{page.theme}.png")


def violations(page, part: str) -> list[str]:
    """What axe objects to in a part of the page; JupyterLab around it is not ours."""
    found = Axe().run(page, context=part).response["violations"]
    return [f"{v['id']}: {[node['html'][:120] for node in v['nodes'][:3]]}" for v in found]


def row(shown, title: str) -> str:
    return shown.get_by_role("row").filter(has_text=title).inner_text()


def test_who_comes_back_sees_what_is_done_and_goes_on_with_one_click(page, lab, server, notes):
    exercises = catalogue.by_name()
    for name in ("halfway", "softmax"):
        record.keep(exercises[name], exercises[name].points)
    record.keep(exercises["log_softmax"], 2)
    shown = opened(page, lab, server[1])
    page.locator(f"body[data-jp-theme-light='{str(page.theme == 'light').lower()}']").wait_for(state="attached")
    assert "Welcome back." in shown.inner_text()
    assert violations(page, ".jp-MarkdownViewer") == []
    assert "2 of " in shown.inner_text()
    assert "done" in row(shown, "Start here") and "3 of 3" in row(shown, "Start here")
    assert "●◐○○" in row(shown, "1 · Softmax").replace(" ", "") and "8 of 23" in row(shown, "1 · Softmax")
    shoot(page, "start-again")

    shown.get_by_role("link", name="log_softmax").click()
    heading = page.locator(".jp-Notebook h3", has_text="log_softmax")
    heading.wait_for()
    page.wait_for_function("element => element.getBoundingClientRect().top < innerHeight", arg=heading.element_handle())
    shoot(page, "start-next")


def test_a_newcomer_passes_the_first_check_and_sees_it_ticked_off(page, lab, server, notes):
    shown = opened(page, lab, server[1])
    assert violations(page, ".jp-MarkdownViewer") == []
    assert "Nothing is ticked off yet" in shown.inner_text()
    shoot(page, "start-new")
    shown.get_by_role("link", name="halfway").click()
    notebook = Notebook(page)
    assert page.locator(".jp-Notebook h1", has_text="Start here").is_visible(), "a chapter is begun at its head"
    answer = notebook.cell("def halfway")
    notebook.write(answer, "def halfway(a, b):\n    return (a + b) / 2")
    for cell in (notebook.cell("from autograder import check"), answer):
        notebook.run(cell)
    notebook.run(notebook.cell("check(halfway)"))
    notebook.cell("check(halfway)").get_by_role("region", name="Check of halfway").wait_for()
    notebook.run(notebook.cell("progress()"))
    answer = notebook.cell("progress()").get_by_role("region", name="Your way through the course")
    answer.wait_for()
    assert "done" in row(answer, "Start here")
    assert answer.get_by_text("Next:").locator("xpath=..").get_by_role("link").inner_text() == "softmax"
    answer.scroll_into_view_if_needed()
    shoot(page, "start-tour")
    assert '"halfway"' in notes.read_text(encoding="utf-8")
    assert "return" not in notes.read_text(encoding="utf-8")

    answer.get_by_role("link", name="softmax", exact=True).click()
    page.locator(".jp-Notebook h1", has_text="1 · Softmax").wait_for()
    page.get_by_role("tab", name="00_start.ipynb").click()
    notebook = Notebook(page)
    last = notebook.cell("progress()")
    notebook.write(last, "from autograder import check_all\ncheck_all()  # progress()")
    notebook.run(last)
    last.get_by_text("The file is not what you ran").wait_for()
    notebook.save()
    notebook.run(last)
    last.get_by_text("Would be graded: 1 of 1 exercise, 3 of 3 points.").wait_for()
    assert "the file is not what you ran" not in last.inner_text().lower()
    last.scroll_into_view_if_needed()
    shoot(page, "start-check-all")
