"""Calibration: the clip and the temperature of probabilities that are scored by log loss."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from gap_ensemble.scoring.metrics import EPSILON, log_loss

# What `predict.clip: auto` tries. Both lists hold the value that changes nothing.
TEMPERATURES = (1.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0, 2.5, 3.0)
CLIPS = (0.0, 1e-5, 1e-4, 3e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2)
# Two numbers are fitted, so that of more probabilities evenly spread rows are enough.
MAX_FITTED = 4_000_000


@dataclass(frozen=True)
class Calibration:
    """Temperature and clip, for log loss.

    Attributes
    ----------
    clip : "auto", or a pair of floats, or None
        `predict.clip`: found by `fit`, given, or none.
    labels : bool
        Whether every column is a probability of its own. Otherwise rows sum to one.
    positive : int or None
        Of two classes, the index of the one whose probability is submitted alone.
    low, high : float
        What is applied. With `positive`, its probability is kept in [low, high], and so is every column of `labels`.
        Of classes, the low end is divided among the other classes, low / (n_classes - 1), so that a certain row keeps
        about 1 - low for its class whatever their number, and rows are divided by their sum.
    temperature : float
        The logits are divided by it: temperature scaling (Guo et al., "On calibration of modern neural networks",
        ICML 2017). Above one the answers are less certain.
    """

    clip: str | tuple[float, float] | None = "auto"
    labels: bool = False
    positive: int | None = None
    low: float = 0.0
    high: float = 1.0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.clip is not None and not isinstance(self.clip, str):
            object.__setattr__(self, "low", self.clip[0])
            object.__setattr__(self, "high", self.clip[1])

    def fit(self, y: np.ndarray, values: np.ndarray) -> Self:
        """Return the temperature and the symmetric clip with the least log loss; of equals, what changes least."""
        if self.clip != "auto":
            return self
        every = -(-values.size // MAX_FITTED)
        y, values = y[::every], values[::every]

        def loss(candidate: Self) -> float:
            return log_loss(y, candidate.apply(values))

        temperature = min((replace(self, temperature=t) for t in TEMPERATURES), key=loss).temperature
        return min(
            (
                replace(self, low=low, high=1 - low, temperature=t)
                for t in dict.fromkeys((1.0, temperature))
                for low in CLIPS
            ),
            key=loss,
        )

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Return probabilities after temperature and clip, float64."""
        values = np.asarray(values, np.float64)
        if self.temperature != 1:
            # exp(log(p) / T), for the labels beside that of 1 - p.
            powers = np.maximum(values, EPSILON) ** (1 / self.temperature)
            total = powers.sum(axis=1, keepdims=True)
            if self.labels:
                total = powers + np.maximum(1 - values, EPSILON) ** (1 / self.temperature)
            values = powers / total
        if self.labels:
            return np.clip(values, self.low, self.high)
        if self.positive is not None:
            clipped = np.clip(values[:, self.positive], self.low, self.high)
            return np.stack([1 - clipped, clipped] if self.positive == 1 else [clipped, 1 - clipped], axis=1)
        clipped = np.clip(values, self.low / (values.shape[1] - 1), self.high)
        return np.asarray(clipped / clipped.sum(axis=1, keepdims=True))

    def numbers(self) -> dict[str, float]:
        """Return clip and temperature."""
        return {"clip_low": self.low, "clip_high": self.high, "temperature": self.temperature}
