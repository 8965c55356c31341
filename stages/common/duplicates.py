"""Near-duplicate pictures, found from their features.

Two pictures are near-duplicates if the cosine similarity of their standardised features reaches a threshold. Comparing
every pair would take n² time. Random hyperplanes find the candidates instead (Charikar, "Similarity estimation
techniques from rounding algorithms", STOC 2002): two vectors at an angle θ lie on the same side of a random hyperplane
with probability 1 - θ/π, so that near-duplicates share a whole code of such sides in at least one of many tables.
"""

from collections.abc import Callable, Iterator

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

N_TABLES = 24
# Pairs in one bucket: beyond this many neighbours, rows of a crowded bucket are not compared.
N_NEIGHBOURS = 16


def find_duplicates(
    blocks: Callable[[], Iterator[np.ndarray]],
    rows_at: Callable[[np.ndarray], np.ndarray],
    n_rows: int,
    threshold: float,
    seed: int,
) -> np.ndarray:
    """Group rows whose features are nearly the same.

    Parameters
    ----------
    blocks : callable
        Gives all rows from the first on, in blocks of shape (n, n_features), standardised.
    rows_at : callable
        Gives the rows of sorted, unique numbers (n,) as (n, n_features), standardised.
    n_rows : int
        How many there are.
    threshold : float
        Cosine similarity from which two rows belong together.
    seed : int
        Seed of the hyperplanes.

    Returns
    -------
    ndarray of shape (n_rows,), integer
        Number of the group of each row; most groups have one row.
    """
    codes = _codes(blocks, n_rows, seed)
    pairs = np.unique(np.concatenate([_neighbours(codes[:, table]) for table in range(N_TABLES)]), axis=0)
    alike = []
    for start in range(0, len(pairs), 4096):
        chunk = pairs[start : start + 4096]
        numbers, position = np.unique(chunk, return_inverse=True)
        rows = rows_at(numbers).astype(np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True) + 1e-12
        left, right = position.reshape(chunk.shape).T
        alike.append(chunk[np.einsum("ij,ij->i", rows[left], rows[right]) >= threshold])
    left, right = np.concatenate(alike).T if alike else np.empty((2, 0), int)
    graph = coo_array((np.ones(len(left), bool), (left, right)), shape=(n_rows, n_rows))
    return connected_components(graph, directed=False)[1]


def _codes(blocks: Callable[[], Iterator[np.ndarray]], n_rows: int, seed: int) -> np.ndarray:
    """Return one code a table for every row: shape (n_rows, N_TABLES), int64."""
    # A few rows a bucket, if the rows were spread evenly.
    n_bits = max(8, int(np.ceil(np.log2(max(n_rows, 2)))))
    codes = np.empty((n_rows, N_TABLES), np.int64)
    planes = None
    first = 0
    for rows in blocks():
        if planes is None:
            planes = np.random.default_rng(seed).standard_normal((rows.shape[1], N_TABLES * n_bits), np.float32)
        sides = (rows @ planes > 0).reshape(len(rows), N_TABLES, n_bits)
        codes[first : first + len(rows)] = sides @ (1 << np.arange(n_bits))
        first += len(rows)
    return codes


def _neighbours(codes: np.ndarray) -> np.ndarray:
    """Return the pairs of rows with the same code, shape (n_pairs, 2), the smaller number first."""
    order = np.argsort(codes, kind="stable")
    in_order = codes[order]
    pairs = []
    for distance in range(1, N_NEIGHBOURS + 1):
        same = np.flatnonzero(in_order[distance:] == in_order[:-distance])
        if not len(same):
            break
        pairs.append(np.sort(np.column_stack([order[same], order[same + distance]]), axis=1))
    return np.concatenate(pairs) if pairs else np.empty((0, 2), np.int64)
