"""Groups: rows that must fall into the same fold, because one would give the other away.

Near-duplicates are found (`duplicates.py`), patients and drivers are declared (`data.groups`). Rows that are connected
by either belong to one group.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def connected_groups(columns: Sequence[Sequence[str]]) -> np.ndarray:
    """Number the groups of rows that share a value in any column, also through other rows.

    Parameters
    ----------
    columns : sequence of sequence of str
        Each of length n_rows. An empty value is shared with nobody.

    Returns
    -------
    ndarray of shape (n_rows,), int64
        From 0, in the order of the groups' first rows.
    """
    n_rows = len(columns[0])
    rows, nodes, n_nodes = [np.empty(0, np.int64)], [np.empty(0, np.int64)], n_rows
    for column in columns:
        codes, uniques = pd.factorize(pd.Series(list(column), dtype=object).replace("", None))
        known = np.flatnonzero(codes >= 0)
        rows.append(known)
        nodes.append(codes[known] + n_nodes)
        n_nodes += len(uniques)
    pairs = np.concatenate(rows), np.concatenate(nodes)
    graph = coo_array((np.ones(len(pairs[0]), bool), pairs), shape=(n_nodes, n_nodes))
    return pd.factorize(connected_components(graph, directed=False)[1][:n_rows])[0].astype(np.int64)
