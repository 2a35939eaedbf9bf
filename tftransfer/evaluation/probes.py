"""How good features are, without training anything: nearest neighbours and ridge regression."""

import math

import numpy as np
from sklearn.linear_model import RidgeClassifierCV
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tftransfer import data as sources
from tftransfer.evaluation.looks import Looks
from tftransfer.finetuning.compilation import kept_beside, scope_of
from tftransfer.finetuning.features import Embedder
from tftransfer.layers import greatest_pixel, pool


def embed(backbone, x, *, batch_size=256):
    """Embeddings of examples: the backbone's features in inference mode, averaged over places or tokens.

    Args:
        backbone: a built `keras.Model`.
        x: examples, array `(n, ...)`; uint8 pictures are scaled as in training.
        batch_size: examples at a time.

    Returns:
        NumPy array `(n, dim)`, float32.

    Example:

    >>> from tftransfer import backbones
    >>> embed(backbones.mlp((8,), units=(4,)), np.zeros((5, 8), "float32")).shape
    (5, 4)
    """
    x = sources.read_texts(x, backbone)
    scale = not sources.rescales_pixels(backbone)
    batches = sources.batches(
        x, batch_size=batch_size, labels=False, scale=scale, input_shape=backbone.input_shape[1:]
    )
    return _embedder(backbone).predict(batches, verbose=0).astype("float32")


def _embedder(backbone):
    """Backbone and pooling as one model, so that no feature map outlives its batch; made once."""
    models, variables = kept_beside(backbone).models, [id(variable) for variable in backbone.variables]
    if models.get("embedder of") != variables:  # adapters add some
        with scope_of(backbone):
            models["embedder"] = Embedder([backbone], pool(backbone.output_shape))
        models["embedder of"] = variables
    return models["embedder"]


def knn_accuracy(embeddings, labels, test_embeddings, test_labels, *, k=20):
    """Accuracy of the vote of the k nearest neighbours by cosine similarity, weighted by it.

    Reference: Wu et al., Unsupervised Feature Learning via Non-Parametric Instance Discrimination, 2018,
    https://arxiv.org/abs/1805.01978

    Args:
        embeddings, labels: `(n, dim)` and `(n,)`, whose labels vote.
        test_embeddings, test_labels: what is asked.
        k: neighbours; at most `n`.

    Returns:
        Float in [0, 1].

    Example:

    >>> knn_accuracy(np.eye(2), [0, 1], np.eye(2) + 0.1, [0, 1], k=1)
    1.0
    """
    k = min(k, len(labels))
    model = KNeighborsClassifier(k, metric="cosine", weights=lambda distance: np.exp(-distance / 0.07))
    return float(model.fit(embeddings, labels).score(test_embeddings, test_labels))


def ridge_accuracy(embeddings, labels, test_embeddings, test_labels):
    """Accuracy of a linear probe in closed form: ridge regression on the classes, its strength by
    leave-one-out.

    Args:
        embeddings, labels: `(n, dim)` and `(n,)`, what is fitted.
        test_embeddings, test_labels: what is asked.

    Returns:
        Float in [0, 1].

    Example:

    >>> x = np.repeat(np.eye(2), 4, axis=0)
    >>> ridge_accuracy(x, [0] * 4 + [1] * 4, np.eye(2), [0, 1])
    1.0
    """
    probe = make_pipeline(StandardScaler(), RidgeClassifierCV(alphas=np.logspace(-2, 4, 13)))
    return float(probe.fit(embeddings, labels).score(test_embeddings, test_labels))


class Probe(Looks):
    """Probes the features of a backbone while it is pretrained.

    Half of the labelled examples (stratified) teach a ridge and a nearest-neighbour probe, the other half is
    asked; `probe_accuracy` (ridge) and `knn_accuracy` join the progress bar and the history. Between two
    probes the last value stands. The labels never reach the objective.

    Args:
        backbone: the backbone inside the objective.
        data: labelled `(x, y)`, `y` of class numbers or one-hot.
        every: epochs between two probes.
        seed: seed of the division.
        keep: function that is called with the epoch and its accuracy (ridge) whenever it is the best so far.
        best: accuracy to surpass from the start, of a run that goes on.

    Raises:
        ValueError: when there are no labels, or fewer than four examples a class.

    Example:

    >>> from tftransfer import backbones, objectives
    >>> backbone = backbones.mlp((8,), units=(4,))
    >>> probe = Probe(backbone, (np.random.rand(40, 8), np.arange(40) % 2))
    >>> objective = objectives.Autoencoder(backbone)
    >>> objective.compile("adam")
    >>> history = objective.fit(np.random.rand(40, 8), callbacks=[probe], verbose=0)
    >>> sorted(history.history)
    ['knn_accuracy', 'loss', 'probe_accuracy']
    """

    def __init__(self, backbone, data, *, every=1, seed=0, keep=None, best=-1.0):
        super().__init__(every=every)
        labelled = isinstance(data, tuple) and len(data) == 2 and data[1] is not None
        if not labelled:
            raise ValueError(
                "probe_data must be labelled: a pair (x, y). The unlabelled data cannot probe itself."
            )
        data = sources.read_texts(data, backbone, name="probe_data")
        expected = {
            "input_shape": backbone.input_shape[1:],
            "value_range": (-math.inf, greatest_pixel(backbone)),
        }
        sources.check_examples(*data, **expected, name="probe_data")
        x, y = np.asanyarray(data[0]), sources.Examples(*data).classes()
        counts = np.unique(y, return_counts=True)[1]
        if len(counts) < 2 or counts.min() < 4:
            raise ValueError(
                f"probe_data needs at least two classes of four examples each; its classes have "
                f"{counts.tolist()}."
            )
        parts = train_test_split(x, y, test_size=0.5, stratify=y, random_state=seed)
        self._train_x, self._test_x, self._train_y, self._test_y = parts
        self.backbone = backbone
        self.keep, self.best = keep, best

    def look(self, epoch, due):
        train, test = embed(self.backbone, self._train_x), embed(self.backbone, self._test_x)
        accuracy = ridge_accuracy(train, self._train_y, test, self._test_y)
        neighbours = knn_accuracy(train, self._train_y, test, self._test_y)
        if due and self.keep is not None and accuracy > self.best:  # not where a run happens to go on
            self.best = accuracy
            self.keep(epoch, accuracy)
        return {"probe_accuracy": accuracy, "knn_accuracy": neighbours}
