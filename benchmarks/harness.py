"""How to measure: contenders interleaved in one run, ratios paired round by round, peak memory in a process of its own.

Absolute times depend on the machine and on who else is using it; ratios travel. So each round runs every contender
once, the ratio is taken within the round, and what is reported is the median of the rounds' ratios, with quartiles.
Rounds are added until the quartiles lie within a tenth of the median, or the limit is reached.
"""

import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

Job = Callable[[], Any]
EQUAL = {torch.float32: 1e-3, torch.bfloat16: 3e-2}  # of the largest entry
MIN_SAMPLE_S = 0.01  # a sample shorter than this is repeated until it is as long
MALLOC_FOR_TIME = {"MALLOC_MMAP_THRESHOLD_": str(4 << 30), "MALLOC_TRIM_THRESHOLD_": str(4 << 30)}
MALLOC_FOR_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(64 << 10)}


class NotHereError(Exception):
    """A comparison or contender cannot run on this machine; the message is one sentence that says why."""


@dataclass(frozen=True)
class Target:
    """The claim: the fastest (or leanest) of ``ours`` takes at most ``at_most`` of what ``peer`` takes.

    Without a peer, ``at_most`` is in MiB.
    """

    ours: tuple[str, ...]
    peer: str | None
    at_most: float


@dataclass(frozen=True)
class Comparison:
    """Contenders that compute the same thing: name → function that prepares one and returns the job to measure."""

    name: str
    title: str
    contenders: Mapping[str, Callable[[], Job]]
    baseline: str
    targets: tuple[Target, ...] = ()
    measures: str = "time"  # or "memory"
    rounds: int = 9
    most_rounds: int = 25
    check_equal: bool = field(default=False)  # the jobs return a tensor or some, and these must agree


def measure_times(comparison: Comparison, say: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """Interleave the contenders; seconds and paired ratios, each as (first quartile, median, third quartile)."""
    jobs, missing = _prepare(comparison)
    if comparison.check_equal:
        _require_equal(jobs)
    repeats = {name: _repeats(job) for name, job in jobs.items()}
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    names = list(jobs)
    while True:
        turn = len(seconds[names[0]])
        for name in names[turn % len(names) :] + names[: turn % len(names)]:  # nobody always goes first
            seconds[name].append(_sample(jobs[name], repeats[name]))
        say(f"round {turn + 1}")
        if turn + 1 >= comparison.most_rounds or (turn + 1 >= comparison.rounds and _settled(comparison, seconds)):
            break
    results = {
        name: {"seconds": quartiles(s), "ratio": quartiles(ratios(s, seconds[comparison.baseline]))}
        for name, s in seconds.items()
    }
    verdicts = [_verdict(t, seconds) for t in comparison.targets if {t.peer, *t.ours} <= seconds.keys()]
    return {"contenders": results, "targets": verdicts, "rounds": turn + 1, "missing": missing}


def measure_memory(comparison: Comparison, quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """Peak memory above the inputs, in MiB, each contender in a fresh process."""
    peaks: dict[str, float] = {}
    missing: dict[str, str] = {}
    for contender in comparison.contenders:
        say(contender)
        command = [sys.executable, "-m", "benchmarks", "--peak-of", comparison.name, contender, *["--quick"] * quick]
        done = subprocess.run(command, env=os.environ | MALLOC_FOR_MEMORY, capture_output=True, text=True)
        if done.returncode == 0:
            peaks[contender] = json.loads(done.stdout.splitlines()[-1])["peak_mib"]
        else:
            missing[contender] = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    base = peaks.get(comparison.baseline)
    results = {n: {"peak_mib": p, "ratio": None if base is None else p / max(base, 1e-9)} for n, p in peaks.items()}
    verdicts = []
    for target in comparison.targets:
        if set(target.ours) <= peaks.keys() and (target.peer is None or target.peer in peaks):
            best = min(target.ours, key=peaks.__getitem__)
            value = peaks[best] / (1.0 if target.peer is None else peaks[target.peer])
            verdicts.append(_verdict_of(target, best, value, None))
    return {"contenders": results, "targets": verdicts, "missing": missing}


def peak_of(job: Job) -> float:
    """MiB that the process grows to while the job runs, above what it has before (Linux: VmHWM, reset first)."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
        before = _status("VmRSS")
        job()
        return (_status("VmHWM") - before) / 1024
    except OSError as error:
        raise NotHereError(f"peak memory is read from /proc, which this system lacks ({error})") from error


def quartiles(values: Sequence[float]) -> list[float]:
    return statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    return [a / b for a, b in zip(ours, theirs, strict=True)]


def machine() -> dict[str, str]:
    """What the numbers were made on, and when."""
    processor = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            processor = next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {
        "date": datetime.date.today().isoformat(),
        "processor": f"{processor}, {os.cpu_count()} cores, {torch.get_num_threads()} thread used",
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _prepare(comparison: Comparison) -> tuple[dict[str, Job], dict[str, str]]:
    jobs, missing = {}, {}
    for name, prepare in comparison.contenders.items():
        try:
            jobs[name] = prepare()
        except NotHereError as error:
            missing[name] = str(error)
    if comparison.baseline not in jobs:
        raise NotHereError(missing[comparison.baseline])
    return jobs, missing


def _require_equal(jobs: dict[str, Job]) -> None:
    outputs = {name: job() for name, job in jobs.items()}
    outputs = {name: out if isinstance(out, tuple) else (out,) for name, out in outputs.items()}
    first, expected = next(iter(outputs.items()))
    for name, out in outputs.items():
        for ours, theirs in zip(out, expected, strict=True):
            difference = (ours.float() - theirs.float()).abs().max().item()
            if not difference <= EQUAL[ours.dtype] * max(1.0, theirs.float().abs().max().item()):
                raise AssertionError(f"{name} differs from {first} by {difference}: they do not compute the same thing")


def _now() -> float:
    """One thread: processor time, which neighbours on a shared machine do not count in. With a GPU: the clock."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def _repeats(job: Job) -> int:
    job()  # first calls allocate, and pick kernels
    return max(1, round(MIN_SAMPLE_S / max(_sample(job, 1), 1e-6)))


def _sample(job: Job, repeats: int) -> float:
    start = _now()
    for _ in range(repeats):
        job()
    return (_now() - start) / repeats


def _settled(comparison: Comparison, seconds: dict[str, list[float]]) -> bool:
    spreads = [quartiles(ratios(s, seconds[comparison.baseline])) for s in seconds.values()]
    return all(high - low <= 0.1 * middle for low, middle, high in spreads)


def _verdict(target: Target, seconds: dict[str, list[float]]) -> dict[str, Any]:
    assert target.peer is not None
    each = {name: quartiles(ratios(seconds[name], seconds[target.peer])) for name in target.ours}
    best = min(each, key=lambda name: each[name][1])
    return _verdict_of(target, best, each[best][1], each[best])


def _verdict_of(target: Target, best: str, value: float, spread: list[float] | None) -> dict[str, Any]:
    return {
        "ours": best,
        "peer": target.peer,
        "at_most": target.at_most,
        "measured": value,
        "quartiles": spread,
        "met": value <= target.at_most,
    }


def _status(field_name: str) -> int:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(field_name))
