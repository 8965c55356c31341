"""Long work, shown with its rate and the time left."""

import sys
import time
from collections.abc import Callable

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 30


class Progress:
    """A progress bar on a terminal; elsewhere (a log, CI) a line every half minute and one at the end.

    Parameters
    ----------
    total : int
        How much there is to do.
    label : str
        What is being done.
    unit : str
        What is counted.
    done : int
        How much was done before, by a run that was interrupted.
    n_workers : callable, optional
        Returns how many processes are at work now; shown, unless it is 0.
    """

    def __init__(
        self,
        total: int,
        label: str,
        unit: str = "pictures",
        done: int = 0,
        n_workers: Callable[[], int] = lambda: 0,
    ):
        self.total, self.label, self.unit, self.done = total, label, unit, done
        self.count_workers, self.n_workers = n_workers, 0
        self.start, self.first = time.monotonic(), done
        # When the first part was done, and how much that was: what is slow to start says nothing of the time left.
        self.begun: tuple[float, int] | None = None
        self.next_line = self.start + SECONDS_BETWEEN_LINES
        self.bar = (
            tqdm(total=total, desc=label, unit=f" {unit}", initial=done, smoothing=0.05)
            if sys.stderr.isatty()
            else None
        )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, error_type: object, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()
        elif error_type is None:
            self._line()

    def add(self, n: int) -> None:
        """Count `n` more as done."""
        self.done += n
        self.begun = self.begun or (time.monotonic(), self.done)
        self.n_workers = self.count_workers()
        if self.bar is not None:
            self.bar.set_postfix_str(self._workers().removeprefix(", "), refresh=False)
            self.bar.update(n)
        elif time.monotonic() >= self.next_line:
            self._line()
            self.next_line = time.monotonic() + SECONDS_BETWEEN_LINES

    def say(self, text: str) -> None:
        """Print a line between those of the progress."""
        tqdm.write(f"{self.label}: {text}")
        sys.stdout.flush()

    def _workers(self) -> str:
        return f", {self.n_workers} worker{'s' if self.n_workers > 1 else ''}" if self.n_workers else ""

    def _line(self) -> None:
        now = time.monotonic()
        rate = (self.done - self.first) / (now - self.start) if now > self.start else 0.0
        left = ""
        if self.begun and self.begun[1] < self.done < self.total:
            seconds = (now - self.begun[0]) / (self.done - self.begun[1]) * (self.total - self.done)
            left = f", {tqdm.format_interval(seconds)} left"
        done = f"{self.done:,} of {self.total:,} {self.unit}"
        print(f"{self.label}: {done}, {rate:,.1f} a second{self._workers()}{left}", flush=True)
