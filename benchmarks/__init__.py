"""Benchmarks: every claim of speed or memory, as a ratio against a named peer, in one run. ``python -m benchmarks``."""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
if str(ROOT / "lib") not in sys.path:
    sys.path.insert(0, str(ROOT / "lib"))  # the library of this tree, installed or not
