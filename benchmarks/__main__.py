"""Measure, and say what came out: python -m benchmarks [NAME …] [--quick] [--json FILE] [--plot FILE] [--readme]."""

import argparse
import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any

from benchmarks.harness import MALLOC_FOR_TIME

if __name__ == "__main__" and "--peak-of" not in sys.argv and not MALLOC_FOR_TIME.items() <= os.environ.items():
    # glibc reads these at start only. Unpinned, it hands large blocks back to the system after each use, and clearing
    # them anew costs naive attention more than the arithmetic does.
    pinned = os.environ | MALLOC_FOR_TIME | {"OMP_NUM_THREADS": "1"}
    os.execve(sys.executable, [sys.executable, "-m", "benchmarks", *sys.argv[1:]], pinned)

import torch

from benchmarks import harness, report
from benchmarks.comparisons import ALL


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what to compare (all): {', '.join(ALL)}")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it run at all? The ratios mean nothing")
    parser.add_argument("--json", type=Path, help="write the numbers here; what the file has of other names is kept")
    parser.add_argument("--plot", type=Path, help="write a plot of the targets here")
    parser.add_argument("--readme", action="store_true", help="put the tables of results/*.json into README.md")
    parser.add_argument("--peak-of", nargs=2, help=argparse.SUPPRESS)  # how the harness calls a process of its own
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)

    if options.peak_of:
        name, contender = options.peak_of
        job = ALL[name](options.quick).contenders[contender]()
        print(json.dumps({"peak_mib": harness.peak_of(job)}))
        return 0
    if options.readme and not (options.names or options.json or options.plot):
        report.write_readme()
        return 0
    unknown = [name for name in options.names if name not in ALL]
    if unknown:
        parser.error(f"no comparison is called {', '.join(unknown)}; there are: {', '.join(ALL)}")

    clock = "wall clock, GPU synchronised" if torch.cuda.is_available() else "processor time of the one thread"
    run: dict[str, Any] = {"machine": harness.machine(), "clock": clock, "comparisons": []}
    print("malloc pinned (MALLOC_MMAP_THRESHOLD_, MALLOC_TRIM_THRESHOLD_) by starting anew; contenders interleaved.")
    print(" · ".join(f"{key}: {value}" for key, value in run["machine"].items()), end="\n\n", flush=True)
    for name in options.names or ALL:
        result = measure(name, options.quick)
        run["comparisons"].append(result)
        print(report.table(result), end="\n\n", flush=True)
    if options.json:
        save(run, options.json)
    if options.plot:
        report.plot(run, options.plot)
    if options.readme:
        report.write_readme()
    met = [target["met"] for c in run["comparisons"] for target in c.get("targets", [])]
    print(f"{sum(met)} of {len(met)} targets met.")
    return 0


def measure(name: str, quick: bool) -> dict:
    """One comparison, as a dictionary for JSON."""

    def say(what: str) -> None:
        if sys.stdout.isatty():
            print(f"\r{name}: {what}".ljust(60), end="\r", flush=True)

    try:
        comparison = ALL[name](quick)
        if quick:
            comparison = dataclasses.replace(comparison, targets=(), rounds=2, most_rounds=2)
        about = {"name": name, "title": comparison.title, "measures": comparison.measures}
        if comparison.measures == "memory":
            return about | harness.measure_memory(comparison, quick, say)
        return about | harness.measure_times(comparison, say)
    except harness.NotHereError as reason:
        return {"name": name, "title": "", "measures": "time", "skipped": str(reason)}


def save(run: dict, path: Path) -> None:
    """Write the run; comparisons that the file has and this run has not are kept, as of the same machine and torch."""
    if path.exists():
        old = json.loads(path.read_text(encoding="utf-8"))
        same = all(old["machine"][key] == run["machine"][key] for key in ("processor", "gpu", "torch"))
        fresh = {c["name"]: c for c in run["comparisons"]}
        if same:
            kept = {c["name"]: c for c in old["comparisons"]} | fresh
            run = run | {"comparisons": [kept[name] for name in ALL if name in kept]}
    path.write_text(json.dumps(run, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
