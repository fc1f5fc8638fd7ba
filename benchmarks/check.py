"""How long a learner waits for ``check(softmax)``: a real kernel, the first call apart, the median of the rest.

python -m benchmarks.check
"""

import os
import platform
import statistics
import sys
from datetime import UTC, datetime

from jupyter_client.manager import start_new_kernel

from course import paths

CALLS = 20
SET_UP = """
import time, numpy as np
from autograder import check
from IPython.core.formatters import DisplayFormatter

def right(x, axis=-1):
    e = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)

def wrong(x, axis=-1):
    e = np.exp(x - np.min(x, axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)

def seconds(answer):
    start = time.perf_counter()
    softmax = answer
    softmax.__name__ = "softmax"
    DisplayFormatter().format(check(softmax))
    return time.perf_counter() - start
"""


def main() -> None:
    """Ask a kernel, print the figures."""
    os.environ["PYTHONPATH"] = os.pathsep.join([str(paths.LIBRARY), str(paths.ROOT)])
    manager, client = start_new_kernel(extra_arguments=["--log-level=40"])
    try:
        times: list[float] = []
        client.execute_interactive(SET_UP, timeout=120, output_hook=lambda message: None)

        def listen(message: dict) -> None:
            if message["msg_type"] == "stream" and message["content"]["name"] == "stdout":
                times.extend(float(word) for word in message["content"]["text"].split())

        for answer in ("right", "wrong"):
            times.clear()
            code = f"for _ in range({CALLS + 1}): print(seconds({answer}))"
            client.execute_interactive(code, timeout=120, output_hook=listen)
            first, rest = times[0] * 1e3, [t * 1e3 for t in times[1:]]
            print(f"{answer:>6} answer: first {first:.0f} ms, median of {CALLS} {statistics.median(rest):.1f} ms")
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    python = ".".join(map(str, sys.version_info[:3]))
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {python}, {datetime.now(UTC):%Y-%m-%d}")


if __name__ == "__main__":
    main()
