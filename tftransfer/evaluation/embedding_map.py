"""A map of embeddings: what the features put together, for the eye."""

import numpy as np

from tftransfer.evaluation.figures import PRETRAINED
from tftransfer.evaluation.labels import class_indices
from tftransfer.evaluation.saving import Drawing

_MOST_POINTS = 2000  # points of a map; of more, a random sample
_MOST_CLASSES = 20  # classes that a legend names


def embedding_figure(embeddings, labels=None, class_names=None, *, method="pca", seed=0, path=None):
    """Maps embeddings to the plane, one point per example, coloured by class: do the classes form groups?

    `"pca"` is linear, quick and honest about distances, and says how much of the spread it shows. `"tsne"`
    shows groups far more clearly, but distances between groups and their sizes mean nothing.

    Reference: van der Maaten & Hinton, Visualizing Data using t-SNE, 2008,
    https://www.jmlr.org/papers/v9/vandermaaten08a.html

    Args:
        embeddings: Array (n, dim), such as `embed(backbone, x)`; or a dict of title → array, for maps of the
            same examples side by side.
        labels: Class numbers (n,) or one-hot rows; None draws all points alike.
        class_names: Names in the order of the classes; None numbers them.
        method: `"pca"` or `"tsne"`, both by scikit-learn.
        seed: Seed of t-SNE, and of the sample that is drawn of more than 2000 examples.
        path: Where to save the figure as well, atomically; its ending names the format.

    Returns:
        The `matplotlib.figure.Figure`.

    Raises:
        ValueError: Embeddings that are no finite matrix, lengths that differ, or another method.
        OSError: `path` cannot be written.

    Example:

    >>> random = np.random.default_rng(0)
    >>> figure = embedding_figure({"before": random.normal(size=(40, 8)), "after": np.eye(40)}, [0, 1] * 20)
    >>> [axes.get_title() for axes in figure.axes]
    ['before', 'after']
    """
    if method not in ("pca", "tsne"):
        raise ValueError(f'method must be "pca" or "tsne"; received {method!r}.')
    maps = embeddings if isinstance(embeddings, dict) else {"Embeddings": embeddings}
    maps = {str(title): np.asarray(values, "float64") for title, values in maps.items()}
    for title, values in maps.items():
        if values.ndim != 2 or len(values) < 4 or not np.isfinite(values).all():
            raise ValueError(
                f"embeddings must be a finite matrix (n, dim) of four rows or more; received shape "
                f"{values.shape} for {title!r}."
            )
    classes = (
        None if labels is None else class_indices(labels, None if class_names is None else len(class_names))
    )
    lengths = {len(part) for part in (*maps.values(), *([] if classes is None else [classes]))}
    if len(lengths) != 1:
        raise ValueError(f"embeddings and labels must be of one length; received {sorted(lengths)}.")
    size = lengths.pop()
    if size > _MOST_POINTS:
        rows = np.sort(np.random.default_rng(seed).choice(size, _MOST_POINTS, replace=False))
        maps = {title: values[rows] for title, values in maps.items()}
        classes = None if classes is None else classes[rows]
    planes = {title: _plane(values, method, seed) for title, values in maps.items()}

    def draw(figure):
        panels = figure.subplots(1, len(planes), squeeze=False)[0]
        for axes, (title, (points, share)) in zip(panels, planes.items(), strict=True):
            _draw_points(axes, points, classes, class_names)
            axes.set(title=title, xlabel=share)
        named = panels[-1].get_legend_handles_labels()
        if 1 < len(named[0]) <= _MOST_CLASSES:
            figure.legend(*named, loc="outside right center", frameon=False, markerscale=2)
        figure.suptitle("Principal components" if method == "pca" else "t-SNE", fontsize=11)

    return Drawing((4.3 * len(planes) + 0.9, 4.2), draw).plot(path)


def _plane(values, method, seed):
    """Two coordinates per row, and what share of the variance they show, in words."""
    from sklearn.decomposition import PCA

    if method == "tsne":
        from sklearn.manifold import TSNE
        from threadpoolctl import threadpool_limits

        perplexity = min(30.0, max(2.0, len(values) / 10))  # sees about so many neighbours
        with threadpool_limits(1):  # several would wait for each other 1000 times: slow on a busy machine
            return TSNE(perplexity=perplexity, random_state=seed).fit_transform(values), ""
    if values.shape[1] < 2:
        values = np.pad(values, ((0, 0), (0, 1)))
    total = values.var(0).sum()
    points = PCA(2, random_state=seed).fit_transform(values)
    share = points.var(0).sum() / total if total > 0 else 0.0
    return points, f"{share:.0%} of the variance"


def _draw_points(axes, points, classes, class_names):
    from matplotlib import colormaps

    style = {"s": 11, "alpha": 0.8, "linewidths": 0}
    if classes is None:
        axes.scatter(*points.T, color=PRETRAINED, **style)
    else:
        present = np.unique(classes)
        count = int(present.max()) + 1
        colors = colormaps["tab10" if count <= 10 else "tab20" if count <= 20 else "turbo"]
        for number in present:
            name = str(number) if class_names is None else str(class_names[number])
            color = colors(int(number) if count <= 20 else number / (count - 1))
            rows = classes == number
            axes.scatter(*points[rows].T, color=color, label=name.replace("$", r"\$"), **style)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color("#c8c8c8")
