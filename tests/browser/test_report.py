"""The class report and a page of feedback in a real browser: by day, by night, by keyboard, on a phone, without script.

The pictures in book/pictures whose names begin with `report` are drawn here: see CONTRIBUTING.md.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import schools
from axe_playwright_python.sync_playwright import Axe
from test_alike import OTHERS, OWN, renamed

from autograder.report import alike, discreet, feedback, teacher

pytestmark = [pytest.mark.browser, pytest.mark.slow]

DESK, PHONE = {"width": 1200, "height": 900}, {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    """A class of 30 in two chapters, two of whom wrote alike, in a folder with a space and an é."""
    school = schools.school(30, (("01_softmax", 1), ("05_masks", 5)), seed=4)
    people = list(school.people)
    written = [alike.Written(who, text) for who, text in zip(people, (OWN, OTHERS, renamed(OWN)), strict=False)]
    path = tmp_path_factory.mktemp("café au lait") / "report.html"
    path.write_text(teacher.page(replace(school, pairs=alike.pairs("01_softmax", written, ()))), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> Path:
    """A page of feedback with a right answer, wrong ones and one that is not written."""
    each = schools.assignment("01_softmax", 1)
    answers = {"softmax": "subtracts_the_minimum", "log_softmax": "right", "softmax_temperature": "multiplies"}
    outcomes = [schools.outcome(schools.verdict_of(n, answers.get(n, "todo"))) for n in each.exercises]
    outcomes = [replace(o, laws=tuple(discreet.law(law) for law in o.laws)) for o in outcomes]
    work = schools.Work(
        "anna", each.name, "graded", schools.DUE, points=14.0, worth=each.worth, outcomes=tuple(outcomes)
    )
    sheet = feedback.Sheet(
        "A course", "anna", "Berg, Anna", each, work, Path("none"), Path("none"), {}, frozenset(), ()
    )
    path = tmp_path_factory.mktemp("feedback") / "feedback.html"
    path.write_text(feedback.page(sheet), encoding="utf-8")
    return path


@contextmanager
def opened(chromium, path: Path, viewport=DESK, **options) -> Iterator:
    """The page, in a browser that may not reach anybody; what failed or complained fails the test."""
    context = chromium.new_context(viewport=viewport, offline=True, **options)
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("request", lambda request: wrong.append(request.url) if not request.url.startswith("file:") else None)
    page.goto(path.as_uri())
    yield page
    context.close()
    assert wrong == []


def shoot(page, name: str, whole: bool = True) -> None:
    if folder := os.environ.get("ATTNLAB_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=whole)


def violations(page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [f"{v['id']}: {[node['html'][:120] for node in v['nodes'][:3]]}" for v in found]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_by_day_or_by_night_folded_or_unfolded(chromium, report, told, scheme):
    for path in (report, told):
        with opened(chromium, path, color_scheme=scheme) as page:
            shoot(page, f"{path.stem}-{scheme}-whole")
            assert violations(page) == []
            page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
            assert violations(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_picture_of_the_report(chromium, tmp_path, scheme):
    """What stands in book/pictures is drawn by this test: see CONTRIBUTING.md."""
    path = tmp_path / "report.html"
    path.write_text(teacher.page(schools.school(30, seed=2)), encoding="utf-8")
    with opened(chromium, path, {"width": 1000, "height": 1420}, color_scheme=scheme) as page:
        assert page.get_by_role("heading", name="What the class misunderstands").is_visible()
        assert page.locator("article.held").first.bounding_box()["y"] < 1150
        shoot(page, f"report-{scheme}", whole=False)


def test_night_follows_the_system_and_the_button_and_is_remembered(chromium, report):
    brightness = "sum = getComputedStyle(document.body).backgroundColor.match(/[0-9.]+/g).slice(0, 3).map(Number)"
    with opened(chromium, report, color_scheme="dark") as page:
        assert sum(page.evaluate(brightness)) < 150
        page.get_by_role("button", name="Light").click()
        assert sum(page.evaluate(brightness)) > 700
        page.reload()
        assert sum(page.evaluate(brightness)) > 700


def test_nothing_is_wider_than_a_phone(chromium, report, told):
    for path in (report, told):
        with opened(chromium, path, PHONE) as page:
            shoot(page, f"{path.stem}-phone")
            page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
            assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_a_table_is_sorted_by_keyboard_and_says_so(chromium, report):
    with opened(chromium, report) as page:
        table = page.locator("#class")
        head = table.locator("th", has_text="Laws that hold")
        values = "table => [...table.tBodies[0].rows].map(row => Number(row.cells[4].dataset.value))"
        for way in ("ascending", "descending"):
            head.get_by_role("button").focus()
            page.keyboard.press("Enter")
            assert head.get_attribute("aria-sort") == way
            shown = table.evaluate(values)
            assert shown == sorted(shown, reverse=way == "descending") and len(set(shown)) > 3
        assert table.locator("[aria-sort]").count() == 1


def test_the_first_tab_leads_past_the_menu_and_every_stop_can_be_seen(chromium, report):
    with opened(chromium, report) as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "To the report"
        for _ in range(40):
            page.keyboard.press("Tab")
            seen = page.evaluate(
                "(() => { const e = document.activeElement, r = e.getBoundingClientRect(), s = getComputedStyle(e);"
                "return [r.width > 0 && r.height > 0, s.outlineStyle, e.outerHTML.slice(0, 80)]; })()"
            )
            assert seen[0] and seen[1] == "solid", seen[2]


def test_a_student_is_found_and_unfolded(chromium, report):
    with opened(chromium, report) as page:
        row = page.locator("#class tbody tr").nth(5)
        name = row.locator("a").inner_text()
        page.get_by_label("Find a student").fill(name.lower())
        assert 1 <= page.locator("#class tbody tr:visible").count() < 10
        page.locator("#class tbody tr:visible a").first.click()
        fold = page.locator("details.student[open]")
        fold.wait_for()
        assert name in fold.locator("summary").first.inner_text()
        shoot(page, "report-student", whole=False)


def test_names_can_be_hidden_for_a_screen_in_class(chromium, report):
    with opened(chromium, report) as page:
        names = [name.split(",")[0] for name in page.locator("#class tbody a").all_inner_texts()]
        page.get_by_role("button", name="Hide names").click()
        page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
        shown = page.locator("body").inner_text()
        assert len(names) == 30 and not any(f"{name}, " in shown for name in names)
        assert "What the class misunderstands" in shown
        page.get_by_role("button", name="Hide names").click()
        assert names[0] in page.locator("#class").inner_text()


def test_without_script_everything_is_there_and_folds_open(chromium, report, told):
    with opened(chromium, report, java_script_enabled=False) as page:
        assert page.locator("#class tbody tr").count() == 30
        assert page.locator("#class tbody tr").first.is_visible() and not page.locator("#filter").is_visible()
        assert not page.get_by_role("button", name="Hide names").is_visible()
        first = page.locator("details.student").first
        first.locator("summary").click()
        assert first.locator(".inside").is_visible()
        shoot(page, "report-without-script", whole=False)
    with opened(chromium, told, java_script_enabled=False) as page:
        assert page.get_by_role("heading", name="Your points").is_visible()


def test_a_script_that_got_into_the_page_would_not_run(chromium, report, tmp_path):
    """The page's own policy, should something ever slip through: only our script runs, known by its digest."""
    text = report.read_text(encoding="utf-8")
    evil = "<script>document.title = 'evil'</script><img src=x onerror=\"document.title = 'evil'\">"
    path = tmp_path / "evil.html"
    path.write_text(text.replace("<main", evil + "<main", 1), encoding="utf-8")
    context = chromium.new_context()
    page = context.new_page()
    page.goto(path.as_uri())
    assert page.locator("html.scripted").count() == 1 and page.title() != "evil"
    context.close()
