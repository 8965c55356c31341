"""Folds: which rows validate which model."""

import warnings
from collections import Counter

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from gap_ensemble.messages.errors import UserError, listed

# With one fold, this share of the rows validates and the rest trains: one part in five, as in the 2017 recipe.
PARTS_OF_ONE_SPLIT = 5
# Of more rows in groups than this, folds are balanced group by group.
MAX_SHARE_IN_GROUPS = 0.1
# More strata than this are balanced by size alone: every group is weighed against all of them.
MAX_BALANCED_STRATA = 200


def hold_out(label: np.ndarray, group: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Choose the rows that a fine-tuned network never sees, so that they can validate it.

    The groups of every class are shuffled, and the first ones held out: a larger share holds out the same rows and
    more, so that networks with shares of their own leave some rows in common. Groups with rows of several classes are
    shuffled among themselves. Of every class a group is left, because it is needed to learn the class.

    Parameters
    ----------
    label : ndarray of shape (n_rows,), integer
        Class of every row.
    group : ndarray of shape (n_rows,), integer
        Rows of one group (equal pictures, those of one patient) stay together.
    share : float
        Share of every class that is held out. It is met as well as the sizes of the groups let it.
    seed : int
        Seed of the shuffle.

    Returns
    -------
    ndarray of shape (n_rows,), bool
        At least one group is held out, where any can be.
    """
    _, first_rows, group_of_row, sizes = np.unique(group, return_index=True, return_inverse=True, return_counts=True)
    stratum = label[first_rows]
    stratum[group_of_row[label != stratum[group_of_row]]] = -1
    shuffled = np.random.default_rng(seed).permutation(len(sizes))
    by_stratum = shuffled[np.argsort(stratum[shuffled], kind="stable")]
    _, first, number, counts = np.unique(
        stratum[by_stratum], return_index=True, return_inverse=True, return_counts=True
    )
    ahead = np.cumsum(sizes[by_stratum]) - sizes[by_stratum]
    ahead -= ahead[first][number]
    n_rows = np.bincount(number, weights=sizes[by_stratum])[number]
    # A random offset a class makes the share right over many small classes, too.
    offset = np.random.default_rng(seed).random(len(counts))[number]
    # A group is held out by every share above this.
    least_share = np.empty(len(sizes))
    least_share[by_stratum] = (ahead + offset * sizes[by_stratum]) / n_rows
    last_of_class = pd.Series(least_share[group_of_row]).groupby(label).idxmax().to_numpy()
    least_share[group_of_row[last_of_class]] = np.inf
    if not (least_share < share).any():
        share = np.nextafter(least_share.min(), 1)
    return np.asarray(least_share < share)[group_of_row]


def assign_folds(label: np.ndarray, n_folds: int, seed: int, group: np.ndarray | None = None) -> np.ndarray:
    """Deal the rows of every class into folds, as evenly as they go.

    Chance alone wants a fold for every row. In each class, folds that would get too many rows leave the last ones to
    those that would get too few. So fold sizes and the counts of every class in them differ by one at most, also for
    classes with fewer rows than folds, and when a label is corrected, nearly all rows stay in their folds, where
    scikit-learn's `StratifiedKFold` would deal most of them anew.

    Parameters
    ----------
    label : ndarray of shape (n_rows,), integer
        Class of every row.
    n_folds : int
        How many; 1 stands for a single split, in which one row in five validates.
    seed : int
        Seed of the shuffle.
    group : ndarray of shape (n_rows,), integer, optional
        Rows of one group fall into one fold. Where few rows have company, a group is dealt out by its first row and the
        others follow; else scikit-learn's `StratifiedGroupKFold` balances the folds.

    Returns
    -------
    ndarray of shape (n_rows,), int32
        The fold that each row validates, 0 to n_folds - 1; -1 for rows that only train (with `n_folds=1`).
    """
    n_parts = n_folds if n_folds > 1 else PARTS_OF_ONE_SPLIT
    place = np.random.default_rng(seed).permutation(len(label))
    if group is None:
        fold = _dealt(label, place, n_parts)
    else:
        groups, first_rows, group_of_row = np.unique(group, return_index=True, return_inverse=True)
        if _many_in_groups(group) and len(groups) >= n_parts:
            return _balanced_folds(label, n_folds, seed, group)
        fold = _dealt(label[first_rows], place[first_rows], n_parts)[group_of_row]
    return fold if n_folds > 1 else np.where(fold == 0, 0, -1).astype(np.int32)


def _many_in_groups(group: np.ndarray) -> bool:
    """Tell whether so many rows have company that folds are balanced group by group."""
    sizes = np.unique(group, return_counts=True)[1]
    return bool(sizes[sizes > 1].sum() > MAX_SHARE_IN_GROUPS * len(group))


def _dealt(label: np.ndarray, place: np.ndarray, n_folds: int) -> np.ndarray:
    """Return a fold for every row, shape (n,), int32; `place` is another random number for every row."""
    fold = (place % n_folds).astype(np.int32)
    _, number, counts = np.unique(label, return_inverse=True, return_counts=True)
    # Where one class ends in the round of folds, the next goes on.
    allowed = _in_each_fold(np.cumsum(counts), n_folds) - _in_each_fold(np.cumsum(counts) - counts, n_folds)
    cell = number * n_folds + fold
    in_order = np.lexsort((place, cell))
    wanted = np.bincount(cell, minlength=allowed.size)
    rank = np.arange(len(label)) - (np.cumsum(wanted) - wanted)[cell[in_order]]
    moved = in_order[rank >= allowed.ravel()[cell[in_order]]]
    free = np.maximum(allowed.ravel() - wanted, 0)
    # Both lists are sorted by class, and have as many of each.
    fold[moved[np.lexsort((place[moved], number[moved]))]] = np.repeat(np.arange(allowed.size), free) % n_folds
    return fold


def _in_each_fold(n_dealt: np.ndarray, n_folds: int) -> np.ndarray:
    """Return how many of the first rows of a round lie in each fold, shape (len(n_dealt), n_folds)."""
    return (n_dealt[:, None] + n_folds - 1 - np.arange(n_folds)) // n_folds


def validation_folds(
    strata: np.ndarray, group: np.ndarray, fine_tuned_on: np.ndarray, n_folds: int, seed: int
) -> np.ndarray:
    """Deal the rows into folds; those whose labels a fine-tuned network knows, or a group mate's, never validate.

    Parameters
    ----------
    strata, group : ndarray of shape (n_rows,), integer
        By which folds are stratified, and what stays together.
    fine_tuned_on : ndarray of shape (n_rows,), bool
        Rows that a network was fine-tuned on.
    n_folds, seed : int
        As for `assign_folds`.

    Returns
    -------
    ndarray of shape (n_rows,), int32
        As `assign_folds` returns it.

    Raises
    ------
    UserError
        If fewer groups of rows are left than there are folds.
    """
    free = ~np.isin(group, group[fine_tuned_on])
    n_groups = len(np.unique(group[free]))
    if n_groups < max(n_folds, 2) and fine_tuned_on.any():
        raise UserError(
            f"{free.sum():,} of {len(group):,} training rows are free of fine-tuning, too few for {n_folds} folds; "
            "raise held_out in the entries of finetune, or leave those networks out"
        )
    if n_groups < max(n_folds, 2):
        raise UserError(
            f"params.yaml: train.folds: found {n_folds}, but the {len(group):,} training rows are {n_groups} groups "
            "(data.groups, near-duplicates), and a group stays in one fold; lower train.folds, or check data.groups"
        )
    if fine_tuned_on.any():
        print(f"{free.sum():,} of {len(group):,} training rows validate: no network was fine-tuned on them")
    if _many_in_groups(group[free]):
        print("Folds are balanced by groups: another label deals them anew, and scores move by luck, too")
    fold = np.full(len(group), -1, np.int32)
    fold[free] = assign_folds(strata[free], n_folds, seed, group[free])
    return fold


def warn_of_rare_strata(text: list[str], fold: np.ndarray, n_folds: int) -> None:
    """Say which targets stand in fewer rows than there are folds: some fold has none of them to validate.

    Parameters
    ----------
    text : list of str
        The target of every row, as people write it.
    fold : ndarray of shape (n_rows,), integer
        Rows that only train have -1.
    n_folds : int
    """
    counts = Counter(name for name, k in zip(text, fold, strict=True) if k >= 0)
    rare = [f"{name} ({n})" for name, n in sorted(counts.items()) if n < max(n_folds, 2)]
    if rare and len(rare) < len(counts):
        print(
            f"WARNING: too few rows for {len(rare):,} of {len(counts):,} targets: {listed(rare)}; with {n_folds} folds "
            "(train.folds), some folds have none of them to validate"
        )


def _balanced_folds(label: np.ndarray, n_folds: int, seed: int, group: np.ndarray) -> np.ndarray:
    """Return folds as `assign_folds` does, by scikit-learn's `StratifiedGroupKFold`."""
    n_parts = n_folds if n_folds > 1 else PARTS_OF_ONE_SPLIT
    strata = np.unique(label, return_inverse=True)[1]
    counts = np.bincount(strata)
    # Strata too rare to be spread over the folds are put together, and so are all of too many.
    strata = np.where(counts[strata] < n_parts, len(counts), strata)
    if len(counts) > MAX_BALANCED_STRATA or np.bincount(strata).max() < n_parts:
        strata = np.zeros_like(strata)
    fold = np.full(len(label), -1, np.int32)
    splitter = StratifiedGroupKFold(n_parts, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of strata with few members, which are spread as well as they go.
        for k, (_, validates) in enumerate(splitter.split(np.zeros(len(label)), strata, group)):
            fold[validates] = k
    return fold if n_folds > 1 else np.where(fold == 0, 0, -1).astype(np.int32)
