"""Pictures as points of a plane, for looking at: t-SNE, which keeps neighbourhoods, not distances.

Shape letters: N pictures, D numbers of each.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvgssl.features.graph import nearest_neighbours

MOST = 1000  # pictures that t-SNE itself places: it takes seconds for each thousand
NEAREST = 3  # of them, between which another picture is placed
AXES = 50  # principal ones that are kept before
PERPLEXITY = 30.0
CHUNK = 1024


def tsne(rows: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Places [N, 2] of rows [N, D], at least four of them, principal axes first.

    van der Maaten & Hinton 2008 (JMLR 9), "Visualizing data using t-SNE".
    """
    from sklearn.manifold import TSNE

    perplexity = min(PERPLEXITY, (len(rows) - 1) / 3)
    made = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(rows)
    places: NDArray[np.float64] = made.astype(np.float64)
    return places


def plane(rows: NDArray[np.float32], most: int = MOST) -> NDArray[np.float32]:
    """Places [N, 2], within 0..1, of rows [N, D] of length 1.

    Of more than `most` rows a random part is placed by t-SNE, the others at the mean of the three
    nearest of those. Fewer than four rows are side by side.
    """
    if len(rows) < 4:
        return np.column_stack([np.linspace(0, 1, len(rows)), np.full(len(rows), 0.5)]).astype("f4")
    from scipy.special import softmax
    from sklearn.decomposition import PCA

    # at random: exposures of a part may come in turns
    sample = np.sort(np.random.default_rng(0).permutation(len(rows))[:most])
    shown = rows[sample]
    reduced = PCA(min(AXES, *shown.shape), svd_solver="full").fit_transform(shown)
    drawn = tsne(reduced)
    places = np.empty((len(rows), 2))
    for at in range(0, len(rows), CHUNK):
        cosine, near = nearest_neighbours(rows[at : at + CHUNK], shown, min(NEAREST, len(shown)))
        weight = softmax(cosine / 0.1, axis=1)
        places[at : at + CHUNK] = np.einsum("ng,ngp->np", weight, drawn[near])
    places[sample] = drawn
    places -= places.min(axis=0)
    places /= np.maximum(places.max(axis=0), 1e-9)
    return places.astype(np.float32)
