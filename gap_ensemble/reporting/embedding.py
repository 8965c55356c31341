"""A map: training rows in two dimensions, near where their features are alike, with thumbnails on hover."""

import base64
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from gap_ensemble.reporting.data import ReportData
from gap_ensemble.reporting.thumbnails import to_jpeg
from gap_ensemble.reporting.view import View

# More points take longer and show no more.
MAX_POINTS = 1200
N_COMPONENTS = 50
TILE = 56  # pixels
N_THREADS = 4  # that decode pictures


def coordinates(features: np.ndarray, seed: int) -> np.ndarray:
    """Return places on a plane by t-SNE (van der Maaten and Hinton, JMLR 2008) on the first principal components.

    Parameters
    ----------
    features : ndarray of shape (n, n_features)
    seed : int

    Returns
    -------
    ndarray of shape (n, 2)
        From 0 to 1.
    """
    n_components = min(N_COMPONENTS, *features.shape)
    with threadpool_limits(1):  # Threads of this size of problem mostly wait for each other.
        scaled = StandardScaler().fit_transform(np.asarray(features, np.float32))
        components = PCA(n_components, svd_solver="randomized", random_state=seed).fit_transform(scaled)
        if len(features) < 10 or n_components < 2:  # Too few for neighbourhoods.
            places = np.pad(components, ((0, 0), (0, 2)))[:, :2]
        else:
            perplexity = min(30, (len(features) - 1) / 3)
            places = TSNE(perplexity=perplexity, init="pca", random_state=seed, max_iter=500).fit_transform(components)
    low, high = places.min(axis=0), places.max(axis=0)
    return np.asarray((places - low) / np.where(high > low, high - low, 1))


def chosen_rows(n_rows: int) -> np.ndarray:
    """Return the numbers of the rows on the map: evenly spread ones, which the shuffled feature file mixes."""
    return np.unique(np.linspace(0, n_rows - 1, min(n_rows, MAX_POINTS)).astype(int))


def embedding(data: ReportData, view: View, rows: list[str], features: np.ndarray) -> str:
    """Return the map as HTML.

    Parameters
    ----------
    data : ReportData
    view : View
    rows : list of str
        Names of training rows.
    features : ndarray of shape (len(rows), n_features)
    """
    numbers = [data.number_of.get(row) for row in rows]
    places = coordinates(features, 0)
    n_columns = int(np.ceil(np.sqrt(len(rows))))
    sheet = np.zeros((-(-len(rows) // n_columns) * TILE, n_columns * TILE, 3), np.uint8)
    with ThreadPoolExecutor(N_THREADS) as pool:
        tiles = list(pool.map(lambda row: data.pictures.image("train", row, TILE), rows))
    points = []
    for k, (row, i, tile) in enumerate(zip(rows, numbers, tiles, strict=True)):
        top, left = divmod(k, n_columns)
        sheet[top * TILE : (top + 1) * TILE, left * TILE : (left + 1) * TILE] = tile
        point: dict[str, object] = {
            "x": round(float(places[k, 0]), 4),
            "y": round(float(places[k, 1]), 4),
            "at": [left * TILE, top * TILE],
            "caption": row if i is None else f"{row}\n{view.caption(i)}",
        }
        if i is not None:
            point |= {"hue": round(view.hue(i)), "right": view.is_right(i), "fold": int(data.fold[i])}
            point["groups"] = view.groups(i)
        points.append(point)
    values = json.dumps(points, ensure_ascii=False).replace("</", "<\\/")
    picture = base64.b64encode(to_jpeg(sheet, 65)).decode()
    return (
        f"<p>{len(rows):,} training rows, near where their features are alike (t-SNE). Colours are classes, first "
        "labels or tenths; a black ring is a wrong prediction (of numbers, one off by more than a standard deviation); "
        "grey did not validate. Point at one to see it.</p>"
        f'<svg id="map" viewBox="-2 -2 104 64"></svg><div id="tip" hidden><div id="tile"></div><pre></pre></div>'
        f"<style>#tile {{ width: {TILE}px; height: {TILE}px; "
        f"background: url(data:image/jpeg;base64,{picture}) }}</style>"
        f'<script type="application/json" id="points">{values}</script>'
    )
