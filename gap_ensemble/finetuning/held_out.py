"""Which training pictures a network is fine-tuned on, which are for early stopping, and which it never sees."""

import numpy as np

from gap_ensemble.messages.errors import UserError
from gap_ensemble.validation.folds import hold_out

# Of the pictures that are not held out, this share of every class is for early stopping; the others train.
SHARE_OF_EARLY_STOPPING = 0.1


def split_pictures(
    name: str, held_out: float, label: np.ndarray, group: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the pictures that are not held out, and which of them are for early stopping.

    Parameters
    ----------
    name : str
        The entry's name.
    held_out : float
        Share that is held out.
    label, group : ndarray of shape (n_pictures,), integer
        Class of every picture, and its group, which is not split.
    seed : int

    Returns
    -------
    used : ndarray of shape (n_pictures,), bool
    stops : ndarray of shape (n_used,), bool

    Raises
    ------
    UserError
        If too few pictures are left to validate, to train or for early stopping.
    """
    used = ~hold_out(label, group, held_out, seed)
    stops = hold_out(label[used], group[used], SHARE_OF_EARLY_STOPPING, seed + 1)
    if used.all() or stops.all() or not stops.any():
        raise UserError(
            f"params.yaml: finetune.{name}.held_out: found {held_out}, which holds out {(~used).sum():,} "
            f"of {len(label):,} training pictures, and leaves {stops.sum():,} of the others for early "
            "stopping; change it, or bring more pictures of every class"
        )
    return used, stops


def check_folds(name: str, group: np.ndarray, n_folds: int) -> None:
    """Refuse too few held-out groups for the folds now, and not after hours of training.

    Parameters
    ----------
    name : str
        The entry's name.
    group : ndarray of shape (n_held_out,), integer
        Groups of the held-out pictures.
    n_folds : int
        `train.folds`.

    Raises
    ------
    UserError
    """
    n_groups = len(np.unique(group))
    if n_groups < max(n_folds, 2):
        raise UserError(
            f"params.yaml: finetune.{name}.held_out: it holds out {len(group):,} pictures in {n_groups} groups "
            f"(data.groups, equal pictures), too few for the {n_folds} folds that validate on them; raise it, or lower "
            "train.folds"
        )
