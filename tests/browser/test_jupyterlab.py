"""A student's first hour in a real browser: chapter 1, a wrong answer, a right one, restart and run all."""

import pytest
from learner import Notebook

pytestmark = [pytest.mark.browser, pytest.mark.slow]

WRONG = """def softmax(x, axis=-1):
    e = np.exp(x - x.min(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)
"""
RIGHT = WRONG.replace("x.min", "x.max")


@pytest.fixture(params=["light", "dark"])
def page(chromium, request):
    context = chromium.new_context(viewport={"width": 1300, "height": 1100}, color_scheme=request.param)
    page = context.new_page()
    page.theme = request.param
    yield page
    context.close()


def test_a_student_is_told_what_they_misunderstood(page, lab):
    notebook = Notebook.opened(page, lab, "01_softmax")
    light = str(page.theme == "light").lower()
    page.locator(f"body[data-jp-theme-light='{light}']").wait_for(state="attached")
    assert "News" not in page.locator("body").inner_text()
    notebook.run(notebook.cell("import numpy as np"))
    answer, question = notebook.cell("def softmax(x, axis=-1)"), notebook.cell("check(softmax)")

    notebook.run(question)
    assert "run the cell that defines it" in question.inner_text()

    notebook.run(answer)
    notebook.run(question)
    assert "not written yet" in question.inner_text()

    notebook.write(answer, WRONG)
    notebook.run(answer)
    notebook.run(question)
    panel = question.get_by_role("region", name="Check of softmax")
    assert "5 of 6 laws hold" in panel.inner_text()
    assert "This is what comes out when the minimum is subtracted." in panel.inner_text()
    assert "yours" in panel.inner_text() and "expected" in panel.inner_text()
    panel.scroll_into_view_if_needed()
    notebook.shoot(f"wrong-{page.theme}")

    notebook.write(answer, RIGHT)
    notebook.run(answer)
    notebook.run(question)
    assert "all 6 laws hold, 6 of 6 points" in panel.inner_text()
    assert "minimum" not in panel.inner_text()
    notebook.shoot(f"right-{page.theme}")

    notebook.restart_and_run_all()
    last = notebook.cell("check(softmax_vjp)")
    last.get_by_role("region", name="Check of softmax_vjp").wait_for()
    notebook.idle()
    assert "all 6 laws hold" in panel.inner_text()
    assert "not written yet" in last.inner_text()
    notebook.shoot(f"all-{page.theme}")


def test_a_figure_that_moves_keeps_the_keys_that_it_is_given(page, lab):
    """Chapter 4's map, on the student's own scores: arrows go to another word, not to another cell of the notebook."""
    notebook = Notebook.opened(page, lab, "04_scaled_dot_product")
    notebook.run(notebook.cell("import numpy as np"))
    answer = notebook.cell("def dot_scores(q, k)")
    notebook.write(answer, "def dot_scores(q, k):\n    return q @ k.swapaxes(-1, -2)")
    notebook.run(answer)
    question = notebook.cell("interactive.attention_map")
    notebook.run(question)
    said = question.locator("output")
    question.locator("[role=gridcell]").nth(1).click()
    assert "‘the’ (place 1) may not read ‘cat’" in said.inner_text()
    for key in ("Space", "ArrowDown", "ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
    assert "‘sat’ reads ‘sat’ with weight" in said.inner_text()
    assert "jp-mod-selected" in (question.get_attribute("class") or "")
    question.get_by_role("slider").press("ArrowRight")
    assert "1.05" in question.get_by_text("temperature τ").inner_text()
    question.locator(".map").scroll_into_view_if_needed()
    notebook.shoot(f"map-{page.theme}")
