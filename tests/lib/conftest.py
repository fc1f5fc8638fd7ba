"""A real browser, for figures that move."""

import shutil

import pytest


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page_with(browser):
    """Shows HTML on a page without any network; at the end, no page may have reported an error."""
    errors = []

    def show(html, colour="#ddd", scripts=True):
        page = browser.new_context(java_script_enabled=scripts, offline=True).new_page()
        page.on("pageerror", lambda error: errors.append(error))
        page.set_content(f'<body style="color:{colour};background:#111">{html}</body>')
        return page

    yield show
    assert errors == []
