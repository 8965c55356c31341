"""Near-duplicate pictures, found from their features.

Two pictures are near-duplicates if the cosine similarity of their standardised features reaches a threshold. Comparing
every pair would take n² time. Random hyperplanes find the candidates instead (Charikar, "Similarity estimation
techniques from rounding algorithms", STOC 2002): two vectors at an angle θ lie on the same side of a random hyperplane
with probability 1 - θ/π, so that near-duplicates share a whole code of such sides in at least one of many tables.
"""

from collections.abc import Callable, Iterator

import h5py
import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.preprocessing import StandardScaler

from gap_ensemble.storage.hdf5 import block_slices, texts
from gap_ensemble.validation.groups import connected_groups

N_TABLES = 32
# Pairs in one bucket: beyond this many neighbours, rows of a crowded bucket are not compared.
N_NEIGHBOURS = 16
# Of candidates, sketches of so many numbers are compared first. Near one, the similarity of two sketches is within 0.03
# of that of the rows; copies have equal sketches.
N_SKETCH = 64
MARGIN = 0.2
# Pairs that are compared at a time.
CHUNK = 4096


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
    codes, sketch = _codes_and_sketch(blocks, n_rows, seed)
    candidates = [_close(_neighbours(codes[:, table]), sketch, threshold - MARGIN) for table in range(N_TABLES)]
    pairs = np.unique(np.concatenate(candidates), axis=0)
    alike = [np.empty((0, 2), np.int64)]
    for start in range(0, len(pairs), CHUNK):
        chunk = pairs[start : start + CHUNK]
        numbers, position = np.unique(chunk, return_inverse=True)
        rows = _unit_rows(rows_at(numbers))
        left, right = position.reshape(chunk.shape).T
        alike.append(chunk[np.einsum("ij,ij->i", rows[left], rows[right]) >= threshold])
    left, right = np.concatenate(alike).T
    graph = coo_array((np.ones(len(left), bool), (left, right)), shape=(n_rows, n_rows))
    return connected_components(graph, directed=False)[1]


def _unit_rows(rows: np.ndarray) -> np.ndarray:
    rows = rows.astype(np.float32)
    return rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-12)


def _codes_and_sketch(
    blocks: Callable[[], Iterator[np.ndarray]], n_rows: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return one code a table for every row, (n_rows, N_TABLES) int64, and (n_rows, N_SKETCH) float32.

    The sketch is a random projection of the rows, brought to length one: its inner products are nearly the cosine
    similarities of the rows, and those of copies are exactly one.
    """
    # A few rows a bucket, if the rows were spread evenly.
    n_bits = max(8, int(np.ceil(np.log2(max(n_rows, 2)))))
    codes, sketch = np.empty((n_rows, N_TABLES), np.int64), np.empty((n_rows, N_SKETCH), np.float32)
    rng = np.random.default_rng(seed)
    planes = projection = np.empty(0, np.float32)  # type: np.ndarray
    first = 0
    for rows in blocks():
        if not first:
            planes = rng.standard_normal((rows.shape[1], N_TABLES * n_bits), np.float32)
            projection = rng.standard_normal((rows.shape[1], N_SKETCH), np.float32) / np.float32(np.sqrt(N_SKETCH))
        unit = _unit_rows(rows)
        sides = (unit @ planes > 0).reshape(len(unit), N_TABLES, n_bits)
        codes[first : first + len(unit)] = sides @ (1 << np.arange(n_bits))
        sketch[first : first + len(unit)] = _unit_rows(unit @ projection)
        first += len(unit)
    return codes, sketch


def _close(pairs: np.ndarray, sketch: np.ndarray, threshold: float) -> np.ndarray:
    """Keep the pairs whose sketches are close: the rows themselves are read for these only."""
    kept = [np.empty((0, 2), np.int64)]
    for start in range(0, len(pairs), CHUNK):
        chunk = pairs[start : start + CHUNK]
        kept.append(chunk[np.einsum("ij,ij->i", sketch[chunk[:, 0]], sketch[chunk[:, 1]]) >= threshold])
    return np.concatenate(kept)


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


def group_duplicates(
    file: h5py.File, n_columns: int, same: dict[str, list[str]], threshold: float | None, seed: int
) -> pd.DataFrame:
    """Find the near-duplicates among all rows of the ensemble, training and test.

    Parameters
    ----------
    file : h5py.File
        `features/ensemble.h5`.
    n_columns : int
        The first so many columns are compared: those of networks.
    same : dict of str to list of str
        For `train` and `test`, the hash of every row's picture: copies belong together whatever their features.
    threshold : float or None
        Cosine similarity of standardised features; None finds no groups.
    seed : int
        Seed of the search.

    Returns
    -------
    DataFrame with columns group, split, row
        One line for every row that has a near-duplicate.
    """
    splits = ("train", "test")
    frame = pd.DataFrame(
        [(split, row) for split in splits for row in texts(file[f"{split}_row"])], columns=["split", "row"]
    )
    if threshold is None or frame.empty:
        return frame.assign(group=0)[["group", "split", "row"]].head(0)
    n_train = len(file["train"])
    scaler = StandardScaler()

    def blocks() -> Iterator[np.ndarray]:
        for split in splits:
            for block in block_slices(len(file[split]), file[split].shape[1] * 4):
                yield file[split][block, :n_columns]

    for rows in blocks():
        scaler.partial_fit(rows)

    def scaled_rows(numbers: np.ndarray) -> np.ndarray:
        rows = [file["train"][i] if i < n_train else file["test"][i - n_train] for i in numbers]
        return np.asarray(scaler.transform(np.stack(rows)[:, :n_columns]))

    alike = find_duplicates(
        lambda: (scaler.transform(rows) for rows in blocks()), scaled_rows, len(frame), threshold, seed
    )
    frame["group"] = connected_groups([list(map(str, alike)), [*same["train"], *same["test"]]])
    frame = frame[frame["group"].duplicated(keep=False)].sort_values(["group", "split", "row"])
    return frame.assign(group=pd.factorize(frame["group"])[0] + 1)[["group", "split", "row"]]
