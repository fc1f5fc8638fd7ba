"""Printing the book, as far as it needs no browser: which one is found, what is said without, the contents."""

import pytest

from course import book, browser, paths, printing
from course.source import chapters_in


def test_without_a_browser_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(browser, "chromium", lambda: "")
    with pytest.raises(book.BookError, match=r"no Chromium, Chrome or Edge was found; install one"):
        printing.pdf(tmp_path / "html")


def test_without_the_packages_one_sentence_names_them(tmp_path, monkeypatch):
    monkeypatch.setattr(printing.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(book.BookError, match=r"the PDF needs playwright, pypdf; run"):
        printing.pdf(tmp_path / "html")


def test_a_browser_off_the_path_is_found_where_its_system_keeps_it(tmp_path, monkeypatch):
    program = tmp_path / "Google Chrome"
    monkeypatch.setattr(browser.shutil, "which", lambda name: None)
    monkeypatch.setattr(browser.sys, "platform", "darwin")
    monkeypatch.setitem(browser.PLACES, "darwin", (str(tmp_path / "nowhere"), str(program)))
    assert browser.chromium() == ""
    program.touch()
    assert browser.chromium() == str(program)
    monkeypatch.setattr(browser.shutil, "which", lambda name: f"/bin/{name}" if name == "google-chrome" else None)
    assert browser.chromium() == "/bin/google-chrome", "the path comes first"


def test_the_contents_name_every_chapter_with_its_page():
    chapters = chapters_in(paths.CHAPTERS)
    page = printing.title_page(chapters, {"1·Softmax": 7, "Aboutthisbook": 350})
    for chapter in chapters:
        assert f'href="#chapters-{chapter.name}"' in page
    assert "<span>1 · Softmax</span><span>7</span>" in page
    assert "<span>About this book</span><span>350</span>" in page
    assert "<span>2 · Averaging with weights</span><span></span>" in page
    assert "Part II · The Transformer" in page
