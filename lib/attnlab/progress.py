"""How far a run has come, in one line: a bar, the loss so far, tokens a second, the time that is left."""

import math
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

Scored = Callable[[Any, Any], Any]


def watched(batches: Sequence[Any], score: Scored, title: str) -> tuple[Sequence[Any], Scored]:
    """The batches and a score that draws a bar as it is called, for a loop that knows of no bar.

    ``score(model, batch)`` gives (mean loss a token, tokens that are right, tokens); it is called once a batch.
    """
    bar = ProgressBar(title, len(batches))
    loss, right, seen = 0.0, 0, 0

    def noted(model: Any, batch: Any) -> Any:
        nonlocal loss, right, seen
        result = score(model, batch)
        mean, correct, tokens = result
        loss, right, seen = loss + mean.item() * tokens, right + correct, seen + tokens
        bar.advance(tokens, loss / seen if seen else math.nan)
        if bar.done == bar.total:
            bar.close({"loss": loss / max(seen, 1), "accuracy": right / max(seen, 1), "seconds": bar.seconds()})
        return result

    return batches, noted


class ProgressBar:
    """One line of text that is written over: how far, the loss, tokens a second, time left. On stdout, no widget.

    Where the output is not a terminal nor a notebook (a log file), only the last state of each bar is written.
    """

    WIDTH = 12

    def __init__(self, title: str, total: int, done: int = 0, *, show: bool = True, stream: Any = None):
        self.title, self.total, self.done, self.first = title, total, done, done
        self.stream = stream or sys.stdout
        self.live = show and (self.stream.isatty() or "ipykernel" in sys.modules)
        self.show = show
        self.tokens, self.began, self.drawn, self.length = 0, time.perf_counter(), 0.0, 0

    def seconds(self) -> float:
        return time.perf_counter() - self.began

    def advance(self, tokens: int, loss: float) -> None:
        self.done += 1
        self.tokens += tokens
        if self.live and self.seconds() - self.drawn > 0.1:
            self.drawn = self.seconds()
            left = (self.total - self.done) * self.drawn / (self.done - self.first)
            self._write(f"loss {loss:.3f} · {left:.0f} s left", "")

    def close(self, record: dict[str, float]) -> None:
        """The last state, with what the epoch came to."""
        if self.show:
            names = ("loss", "accuracy", "valid_loss", "valid_accuracy")
            figures = " · ".join(f"{name.replace('_', ' ')} {record[name]:.3f}" for name in names if name in record)
            self._write(f"{figures} · {record['seconds']:.1f} s", "\n")

    def _write(self, figures: str, end: str) -> None:
        filled = self.WIDTH * self.done // max(self.total, 1)
        bar = "█" * filled + "░" * (self.WIDTH - filled)
        rate = self.tokens / max(self.seconds(), 1e-9)
        line = f"{self.title} {bar} {self.done}/{self.total} · {rate:,.0f} tokens/s · {figures}"
        if self.live:  # over the last line, and over its end where that was longer
            self.stream.write("\r" + line.ljust(self.length))
            self.length = len(line)
        else:
            self.stream.write(line)
        self.stream.write(end)
        self.stream.flush()
