"""Folds: which rows judge which model."""

import numpy as np

# With one fold, this share of the rows judges and the rest trains: one part in five, as in the 2017 recipe.
PARTS_OF_ONE_SPLIT = 5


def hold_out(label: np.ndarray, content: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Choose the rows that a fine-tuned network never sees, so that they can judge it.

    The rows of every class are shuffled, and the first ones held out: a larger share holds out the same rows and more,
    so that networks with shares of their own leave some rows in common. Equal pictures stay together.

    Parameters
    ----------
    label : ndarray of shape (n_rows,), integer
        Class of every row.
    content : ndarray of shape (n_rows,), str
        MD5 of every picture.
    share : float
        Share of every class that is held out.
    seed : int
        Seed of the shuffle.

    Returns
    -------
    ndarray of shape (n_rows,), bool
    """
    _, first_rows, picture = np.unique(content, return_index=True, return_inverse=True)
    shuffled = np.random.default_rng(seed).permutation(len(first_rows))
    by_class = shuffled[np.argsort(label[first_rows][shuffled], kind="stable")]
    _, first, counts = np.unique(label[first_rows][by_class], return_index=True, return_counts=True)
    place = np.arange(len(by_class)) - np.repeat(first, counts)
    # A random offset a class makes the share right over many small classes, too. The only picture of a class is needed
    # to learn it.
    offset = np.where(counts > 1, np.random.default_rng(seed).random(len(counts)), np.inf)
    held_out = np.empty(len(by_class), bool)
    held_out[by_class] = place + np.repeat(offset, counts) < share * np.repeat(counts, counts)
    return held_out[picture]


def assign_folds(label: np.ndarray, n_folds: int, seed: int, group: np.ndarray | None = None) -> np.ndarray:
    """Deal the rows of every class into folds, as evenly as they go.

    Rows are shuffled, sorted by class (stably) and dealt out one after the other, so that fold sizes and the counts of
    every class in them differ by one at most, also for classes with fewer rows than folds. It takes one sort, where
    scikit-learn's `StratifiedKFold` takes a pass over all rows for each class.

    Parameters
    ----------
    label : ndarray of shape (n_rows,), integer
        Class of every row.
    n_folds : int
        How many; 1 stands for a single split, in which one row in five judges.
    seed : int
        Seed of the shuffle.
    group : ndarray of shape (n_rows,), integer, optional
        Rows of one group fall into one fold: the group is dealt out by its first row, and the others follow.

    Returns
    -------
    ndarray of shape (n_rows,), int32
        The fold in which each row judges, 0 to n_folds - 1; -1 for rows that only train (with `n_folds=1`).
    """
    n_parts = n_folds if n_folds > 1 else PARTS_OF_ONE_SPLIT
    if group is not None:
        _, first_rows, group_of_row = np.unique(group, return_index=True, return_inverse=True)
        return assign_folds(label[first_rows], n_folds, seed)[group_of_row]
    shuffled = np.random.default_rng(seed).permutation(len(label))
    by_class = shuffled[np.argsort(label[shuffled], kind="stable")]
    fold = np.empty(len(label), np.int32)
    fold[by_class] = np.arange(len(label)) % n_parts
    return fold if n_folds > 1 else np.where(fold == 0, 0, -1).astype(np.int32)
