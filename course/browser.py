"""The browser that is installed on this machine: it prints the book, and drives the tests of its pages."""

import os
import shutil
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge", "microsoft-edge")
# On macOS and Windows a program is seldom on the path.
PLACES = {
    "darwin": (
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
        "/Applications/Chromium.app/Contents/MacOS/Chromium",
        "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    ),
    "win32": (
        r"C:\Program Files\Google\Chrome\Application\chrome.exe",
        r"C:\Program Files (x86)\Google\Chrome\Application\chrome.exe",
        r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
    ),
}
QUIET = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-sync"]


def chromium() -> str:
    """Where Chromium or one of its kin is; "" if nowhere that we know."""
    found = next((place for name in NAMES if (place := shutil.which(name))), "")
    return found or next((place for place in PLACES.get(sys.platform, ()) if Path(place).is_file()), "")


def arguments() -> list[str]:
    """What it is started with. Its own sandbox does not work for root, as in most containers."""
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    return [*QUIET, "--no-sandbox"] if root else QUIET
