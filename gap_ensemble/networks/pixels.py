"""What happens to pixels before a network, where its files do not say it in Keras: (pixel - mean) / std."""

from dataclasses import dataclass

from gap_ensemble.messages.errors import UserError
from gap_ensemble.params import Backbone

PerChannel = tuple[float, float, float]


@dataclass(frozen=True)
class Scaling:
    """A network takes `(pixel - mean) / std`, a channel at a time, of pixels from 0 to 255."""

    mean: PerChannel
    std: PerChannel

    @classmethod
    def of_entry(cls, key: str, entry: Backbone) -> "Scaling | None":
        """Return what the entry says.

        Most tables of networks give `mean` and `std` for pixels from 0 to 1. So values of `std` below 1 are read as
        such: for pixels from 0 to 255 they would be absurd.

        Returns
        -------
        Scaling or None
            None if the entry has neither key.

        Raises
        ------
        UserError
            If one of the two is missing, or they are for pixels of different ranges.
        """
        if entry.mean is None and entry.std is None:
            return None
        if entry.mean is None or entry.std is None:
            missing = "mean" if entry.mean is None else "std"
            raise UserError(f"params.yaml: {key}.{missing}: missing; mean and std go together: (pixel - mean) / std")
        mean, std = per_channel(entry.mean), per_channel(entry.std)
        if max(std) >= 1:
            return cls(mean, std)
        if max(map(abs, mean)) > 1:
            raise UserError(
                f"params.yaml: {key}: found mean {entry.mean} and std {entry.std}; mean is for pixels from 0 to 255 "
                "and std for pixels from 0 to 1: give both for the same"
            )
        red, green, blue = mean
        low, middle, high = std
        return cls((255 * red, 255 * green, 255 * blue), (255 * low, 255 * middle, 255 * high))


def per_channel(value: float | PerChannel) -> PerChannel:
    """Return one number for each of red, green and blue."""
    return value if isinstance(value, tuple) else (value, value, value)
