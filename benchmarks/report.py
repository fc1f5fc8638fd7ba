"""From the numbers to something to read: tables in a terminal, tables in README.md, and a plot."""

import json
from pathlib import Path
from typing import Any

from benchmarks.harness import NotHereError

HERE = Path(__file__).parent
README, RESULTS = HERE / "README.md", HERE / "results"
BEGIN, END = "<!-- tables: made by `python -m benchmarks --readme` from results/*.json -->", "<!-- end of tables -->"


def table(comparison: dict[str, Any]) -> str:
    """One comparison as a Markdown table, its targets and what is missing below it."""
    lines = [f"**{comparison['name']}** · {comparison['title']}", ""]
    if "skipped" in comparison:
        return "\n".join([*lines, f"Not run: {comparison['skipped']}."])
    if comparison["measures"] == "memory":
        lines += ["| | peak, MiB | ratio |", "|---|---:|---:|"]
        for name, r in comparison["contenders"].items():
            lines.append(f"| {name} | {r['peak_mib']:,.0f} | {r['ratio']:.2f} |")
    else:
        lines += ["| | ms (quartiles) | ratio (quartiles) |", "|---|---:|---:|"]
        for name, r in comparison["contenders"].items():
            low, middle, high = (1000 * s for s in r["seconds"])
            a, b, c = r["ratio"]
            lines.append(f"| {name} | {middle:,.2f} ({low:,.2f} – {high:,.2f}) | {b:.2f} ({a:.2f} – {c:.2f}) |")
    lines += ["", *(verdict(t) for t in comparison["targets"])]
    lines += [f"- Not run: {name}: {reason}" for name, reason in comparison["missing"].items()]
    return "\n".join(lines).rstrip()


def verdict(target: dict[str, Any]) -> str:
    """One target: asked, measured, met or by how much missed."""
    of = "MiB" if target["peer"] is None else f"of {target['peer']}"
    digits = 0 if target["peer"] is None else 3 if target["at_most"] < 0.5 else 2
    measured = f"{target['measured']:.{digits}f}"
    if target["quartiles"]:
        low, _, high = target["quartiles"]
        measured += f" ({low:.{digits}f} – {high:.{digits}f})"
    came_out = "**met**" if target["met"] else f"**missed** by {target['measured'] / target['at_most'] - 1:.0%}"
    return f"- {target['ours']}: at most {target['at_most']:.{digits}f} {of}; measured {measured}: {came_out}"


def document(run: dict[str, Any]) -> str:
    """All of one run: where and when, then the tables."""
    m = run["machine"]
    where = f"{m['processor']}; GPU: {m['gpu']}; {m['system']}, Python {m['python']}, torch {m['torch']}; {m['date']}"
    return "\n\n".join([f"Measured on {where}. Clock: {run['clock']}.", *map(table, run["comparisons"])])


def write_readme() -> None:
    """Put the tables of every file in results/ between the two marks of README.md."""
    before, rest = README.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    README.write_text(f"{before}{BEGIN}\n\n{readme_tables()}\n\n{END}{after}", encoding="utf-8")


def readme_tables() -> str:
    runs = [(path.stem, json.loads(path.read_text(encoding="utf-8"))) for path in sorted(RESULTS.glob("*.json"))]
    return "\n\n".join(f"### {stem}\n\n{document(run)}" for stem, run in runs)


def plot(run: dict[str, Any], path: Path) -> None:
    """Each target as a bar: measured over allowed. Left of the line is met."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise NotHereError(f"the plot needs matplotlib ({error})") from error
    rows = [(c["name"], t) for c in run["comparisons"] for t in c.get("targets", [])]
    figure = Figure(figsize=(9, 1.2 + 0.34 * len(rows)), layout="constrained")
    axes = figure.subplots()
    shares = [t["measured"] / t["at_most"] for _, t in rows]
    axes.barh(range(len(rows)), shares, color=["#0072b2" if t["met"] else "#d55e00" for _, t in rows])
    axes.set_yticks(range(len(rows)), [f"{name}: {t['ours']} / {t['peer'] or 'MiB'}" for name, t in rows], fontsize=8)
    axes.invert_yaxis()
    axes.axvline(1, color="0.3", linewidth=1)
    axes.set_xlabel("measured / allowed (left of the line: target met)")
    axes.set_title(f"{run['machine']['processor']}, {run['machine']['date']}", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
