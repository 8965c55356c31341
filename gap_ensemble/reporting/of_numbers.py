"""The report's parts for numbers: errors of every target, and where they lie."""

import io

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

from gap_ensemble.reporting.data import ReportData
from gap_ensemble.reporting.markup import Section, image, table

N_TENTHS = 10
MAX_DRAWN = 6


class NumbersView:
    """How numbers are shown.

    Parameters
    ----------
    data : ReportData
    """

    def __init__(self, data: ReportData):
        self.data, self.names = data, data.task.names
        self.residual = np.asarray(data.submitted, np.float64) - data.y
        inner = np.quantile(data.y[:, 0], np.linspace(0, 1, N_TENTHS + 1)[1:-1])
        self.tenth = np.searchsorted(inner, data.y[:, 0], side="right")

    def caption(self, i: int) -> str:
        """Return what stands below the picture of row i."""
        return f"{self.data.truth_text[i]}\npredicted {self.data.submitted_text[i]}"

    def groups(self, i: int) -> tuple[str, ...]:
        """Return what the filter finds row i by: the tenth in which its first number lies."""
        return (f"tenth {self.tenth[i] + 1:2d} of {self.names[0]}",)

    def hue(self, i: int) -> float:
        """Return the colour of row i on the map, in degrees: from blue (low) to red (high)."""
        return float(240 * (1 - self.tenth[i] / (N_TENTHS - 1)))

    def is_right(self, i: int) -> bool:
        """Whether the prediction of row i is off by less than one standard deviation of the residuals."""
        return bool((np.abs(self.residual[i]) <= self.residual.std(axis=0)).all())

    def suspects(self) -> np.ndarray:
        """Return none: an error alone does not tell whether the picture is hard or the number wrong."""
        return np.empty(0, np.intp)

    def sections(self) -> list[Section]:
        """Return the parts that only numbers have."""
        return [Section("Targets", self._targets()), Section("Residuals", self._drawn() + self._tenths())]

    def _targets(self) -> str:
        y, error = self.data.y, self.residual
        variance = np.maximum(y.var(axis=0), 1e-300)
        lines = [
            (
                name,
                float(np.sqrt(np.square(error[:, t]).mean())),
                float(np.abs(error[:, t]).mean()),
                float(error[:, t].mean()),
                float(1 - np.square(error[:, t]).mean() / variance[t]),
            )
            for t, name in enumerate(self.names)
        ]
        header = ("target", "RMSE", "mean absolute error", "mean of predicted - true", "R²")
        return table(header, lines)

    def _tenths(self) -> str:
        """Return errors by tenths of the first target: whether the ends are drawn to the middle."""
        lines = []
        for tenth in np.unique(self.tenth):
            y, error = self.data.y[self.tenth == tenth, 0], self.residual[self.tenth == tenth, 0]
            span = f"{y.min():.4g} to {y.max():.4g}"
            lines.append((span, len(y), float(error.mean()), float(np.sqrt(np.square(error).mean()))))
        return table((self.names[0], "rows", "mean of predicted - true", "RMSE"), lines, sortable=False)

    def _drawn(self) -> str:
        """Return residuals over predictions, and their histogram, a line of two plots a target."""
        n = min(len(self.names), MAX_DRAWN)
        figure, axes = plt.subplots(n, 2, figsize=(10, 3.2 * n), layout="constrained", squeeze=False)
        for t in range(n):
            axes[t, 0].scatter(self.data.values[:, t], self.residual[:, t], s=5, alpha=0.5)
            axes[t, 0].axhline(0, color="black", linewidth=0.8)
            axes[t, 0].set(xlabel=f"predicted {self.names[t]}", ylabel="predicted - true")
            axes[t, 1].hist(self.residual[:, t], bins=40)
            axes[t, 1].set(xlabel=f"predicted - true {self.names[t]}", ylabel="rows")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=80)
        plt.close(figure)
        return image(buffer.getvalue(), "png")
