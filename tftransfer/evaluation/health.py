"""Whether features are still alive while they are pretrained: spread, rank, alignment and uniformity."""

import warnings

import keras
import numpy as np

from tftransfer import data as sources
from tftransfer.evaluation.looks import Looks
from tftransfer.evaluation.probes import embed
from tftransfer.guards import FeaturesCollapsed, collapse, effective_rank
from tftransfer.layers import random_states_kept

__all__ = ["Health", "alignment", "uniformity"]


def alignment(first, second):
    """How far apart two views of one example lie: `mean ‖f(x) − f(x')‖²` of features of length 1.

    Reference: Wang & Isola, Understanding Contrastive Representation Learning through Alignment and Uniformity on the
    Hypersphere, 2020, https://arxiv.org/abs/2005.10242

    Args:
        first, second: embeddings of two views of the same examples, each `(examples, dim)`.

    Returns:
        Float from 0 (the same) to 4 (opposite).

    Example:

    >>> alignment(np.eye(3), 2 * np.eye(3))
    0.0
    """
    difference = _unit(first) - _unit(second)
    return float(np.mean(np.sum(np.square(difference), axis=1)))


def uniformity(embeddings):
    """How evenly features cover the sphere: `log mean exp(−2 ‖f(x) − f(y)‖²)` over all pairs, of length 1.

    Reference: Wang & Isola, 2020, https://arxiv.org/abs/2005.10242

    Args:
        embeddings: `(examples, dim)`, of two examples or more.

    Returns:
        Float from −4 or so (spread evenly) to 0 (all in one direction).

    Example:

    >>> round(uniformity(np.eye(2)), 6)
    -4.0
    """
    products = (unit := _unit(embeddings)) @ unit.T
    length = np.diag(products)  # 1; 0 for features of nothing but zeros, which lie in one place
    squared = np.maximum((length + length[:, None] - 2 * products)[np.triu_indices(len(unit), 1)], 0)
    return float(np.log(np.mean(np.exp(-2 * squared))))


def _unit(embeddings):
    embeddings = np.asarray(embeddings, "float64")
    return embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)


class Health(Looks):
    """Watches the features of some examples while an objective is trained, and calls a collapse out.

    `feature_std` (of features of length 1, times `√dim`: about 1 is healthy, 0 collapsed), `effective_rank`,
    `uniformity` and, where the objective makes views, `alignment` join the progress bar and the history. Between two
    looks the last values stand. Costs a forward pass over the examples, three with views.

    Args:
        objective: the objective that is trained.
        examples: array `(n, ...)` of a few hundred different examples.
        every: epochs between two looks.
        stop: whether a collapse ends the run by an error; else it is told once, as a warning.

    Attributes:
        told: whether a collapse was told.

    Raises:
        ValueError: for fewer than two examples, or some that do not fit.
        FeaturesCollapsed: (a `ValueError`) during training, with `stop`.

    Example:

    >>> from tftransfer import backbones, objectives
    >>> objective = objectives.Autoencoder(backbones.mlp((8,), units=(4,)))
    >>> objective.compile("adam")
    >>> x = np.random.default_rng(0).random((40, 8))
    >>> history = objective.fit(x, callbacks=[Health(objective, x)], verbose=0)
    >>> sorted(history.history)
    ['effective_rank', 'feature_std', 'loss', 'uniformity']
    """

    def __init__(self, objective, examples, *, every=1, stop=False):
        super().__init__(every=every)
        self.objective, self.examples = objective, np.asarray(examples)
        shape = objective.backbone.input_shape[1:]
        sources.check_examples(self.examples, input_shape=shape, value_range=None, name="examples")
        if len(self.examples) < 2:
            raise ValueError("Health needs at least two examples: one says nothing of their spread.")
        self.stop, self.told = stop, False

    def look(self, epoch, due):
        backbone = self.objective.backbone
        embeddings = embed(backbone, self.examples)
        found = collapse(embeddings)
        if found and self.stop:
            raise FeaturesCollapsed(f"In epoch {epoch + 1} the run was ended. {found}")
        if found and not self.told:
            warnings.warn(found)
            self.told = True
        figures = {
            "feature_std": float(_unit(embeddings).std(axis=0).mean() * np.sqrt(embeddings.shape[1])),
            "effective_rank": effective_rank(embeddings),
            "uniformity": uniformity(embeddings),
        }
        if getattr(self.objective, "views", None) is not None:
            scale = not sources.rescales_pixels(backbone)
            options = {"batch_size": len(self.examples), "labels": False, "scale": scale}
            batch = next(
                iter(sources.batches(self.examples, input_shape=backbone.input_shape[1:], **options))
            )
            with random_states_kept(self.objective):  # the run draws what it would have drawn
                views = [keras.ops.convert_to_numpy(view) for view in self.objective.views(batch)]
            figures["alignment"] = alignment(*(embed(backbone, view) for view in views))
        return figures
