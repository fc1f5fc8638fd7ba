"""A notebook in JupyterLab, driven by what a student can see and click."""

import os
import re
from pathlib import Path

from playwright.sync_api import expect

SECONDS = 120_000  # milliseconds that a step may take on a busy machine
RUN = "[data-command='notebook:run-cell-and-select-next'], [data-jp-item-name='run']"
SAVE = "[data-command='docmanager:save'], [data-jp-item-name='save']"
RESTART = "[data-command='notebook:restart-run-all'], [data-jp-item-name='restart-and-run']"


class Notebook:
    """The notebook that is in front, once its kernel is there."""

    def __init__(self, page):
        self.page = page
        page.set_default_timeout(SECONDS)
        self.panel = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")
        self.panel.locator(".jp-Notebook .jp-Cell").first.wait_for()
        # Until there is a kernel the indicator says "idle", too, and JupyterLab drops what one runs.
        self.panel.locator(".jp-KernelName, .jp-Toolbar-kernelName").filter(has_text="Python 3").first.wait_for()
        self.idle()

    @classmethod
    def opened(cls, page, lab: str, name: str) -> "Notebook":
        address = f"{lab}/lab/tree/notebooks/{name}/{name}.ipynb?token=t&reset"
        page.goto(address, wait_until="domcontentloaded", timeout=SECONDS)
        return cls(page)

    def idle(self) -> None:
        self.panel.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']").wait_for()

    def cell(self, text: str):
        """The first code cell whose source contains this text."""
        return self.panel.locator(".jp-CodeCell", has=self.page.locator(".jp-InputArea", has_text=text)).first

    def run(self, cell) -> None:
        """Run a cell by the button, and wait until it has an answer.

        Not by a key: a notebook that has just opened takes the keyboard once more when it is ready. And only once: who
        presses again where a press seems lost runs the cell twice on a slow machine, and the second answer takes the
        place of the first, with the focus that was in it.
        """
        before = cell.locator(".jp-InputPrompt").inner_text()
        cell.scroll_into_view_if_needed()
        cell.locator(".cm-content").click()
        expect(cell).to_have_class(re.compile("jp-mod-active"), timeout=SECONDS)
        self.panel.locator(RUN).first.click()
        changed = cell.locator(".jp-InputPrompt").filter(has_not_text=before)
        changed.filter(has_text=re.compile(r"\[\d+\]:")).wait_for()
        self.idle()

    def write(self, cell, code: str) -> None:
        """Replace what is in a cell."""
        cell.scroll_into_view_if_needed()
        cell.locator(".cm-content").fill(code)

    def save(self) -> None:
        """Save it, and wait until its tab, not another's, says that it is."""
        self.panel.locator(SAVE).first.click()
        self.page.locator(".lm-TabBar-tab.lm-mod-current.jp-mod-dirty").wait_for(state="detached")

    def restart_and_run_all(self) -> None:
        self.panel.locator(RESTART).first.click()
        self.page.get_by_role("button", name="Confirm Kernel Restart").click()

    def shoot(self, name: str) -> None:
        """A picture for whoever wants to look: ATTNLAB_SCREENSHOTS names the folder."""
        if folder := os.environ.get("ATTNLAB_SCREENSHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=Path(folder) / f"{name}.png")
