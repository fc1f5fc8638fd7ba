"""The benchmark harness: it measures what it says, names what is missing, and its tables come from its numbers."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from benchmarks import __main__ as command
from benchmarks import harness, report
from benchmarks.comparisons import ALL
from benchmarks.harness import Comparison, NotHereError, Target


def spin(seconds):
    """Use the processor for so long."""

    def job():
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass

    return lambda: job


def toy(**options):
    contenders = {"one": spin(0.004), "three": spin(0.012)}
    return Comparison("toy", "a toy", contenders, baseline="one", rounds=5, most_rounds=5, **options)


def test_the_ratio_of_known_times_is_found_and_judged():
    targets = (Target(("three",), "one", 4.0), Target(("three",), "one", 2.0), Target(("one", "three"), "three", 0.5))
    result = harness.measure_times(toy(targets=targets))
    assert result["contenders"]["three"]["ratio"][1] == pytest.approx(3, rel=0.1)
    assert result["contenders"]["one"]["ratio"] == [1, 1, 1]
    assert [t["met"] for t in result["targets"]] == [True, False, True]
    assert result["targets"][2]["ours"] == "one"  # the faster of the two


def test_contenders_that_compute_different_things_are_refused():
    contenders = {"a": lambda: lambda: torch.zeros(3), "b": lambda: lambda: torch.ones(3)}
    comparison = Comparison("x", "x", contenders, baseline="a", check_equal=True)
    with pytest.raises(AssertionError, match=r"b differs from a by 1\.0"):
        harness.measure_times(comparison)


def test_a_missing_peer_is_named_and_its_target_left_open():
    def absent():
        raise NotHereError("the peer is not installed")

    comparison = Comparison(
        "x", "x", {"one": spin(0.001), "peer": absent}, baseline="one", targets=(Target(("one",), "peer", 1.0),),
        rounds=2, most_rounds=2,
    )  # fmt: skip
    result = harness.measure_times(comparison)
    assert result["missing"] == {"peer": "the peer is not installed"}
    assert result["targets"] == []
    assert "Not run: peer: the peer is not installed" in report.table(
        {"name": "x", "title": "x", "measures": "time", **result}
    )


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux's /proc")
def test_peak_memory_sees_what_a_job_holds_at_once():
    """In a fresh process, as the command does it: an old one may have the memory at hand already."""
    code = "import torch\nfrom benchmarks import harness\nprint(harness.peak_of(lambda: torch.ones(8 << 20)))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(["lib", "."])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert float(done.stdout) == pytest.approx(32, abs=6)


def test_quick_runs_through_the_command_and_writes_its_numbers(tmp_path, capsys):
    path = tmp_path / "run.json"
    assert command.main(["attention-forward", "gpu-2048-forward", "--quick", "--json", str(path)]) == 0
    run = json.loads(path.read_text(encoding="utf-8"))
    first, gpu = run["comparisons"]
    assert set(first["contenders"]) == {"F.scaled_dot_product_attention", "readable", "blocked", "tiled, linear memory"}
    assert first["targets"] == []
    assert "skipped" in gpu or torch.cuda.is_available()
    assert {"date", "processor", "torch"} <= run["machine"].keys()
    assert "attention-forward" in capsys.readouterr().out


def test_every_comparison_that_the_machine_allows_can_be_built():
    for name, build in ALL.items():
        try:
            assert build(True).name == name
        except NotHereError as reason:
            assert name.startswith("gpu-"), reason


def test_the_readme_shows_the_stored_numbers():
    assert report.readme_tables() in report.README.read_text(encoding="utf-8")


def test_an_unknown_name_is_answered_with_the_known_ones(capsys):
    with pytest.raises(SystemExit):
        command.main(["attention-backward"])
    assert "attention-training" in capsys.readouterr().err
