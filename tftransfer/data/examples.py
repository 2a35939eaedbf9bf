"""Examples in memory: a pair (x, y) that knows its class names and how to be divided."""

import collections

import numpy as np

from tftransfer.layers.token_ids import TokenIds


def _array(value):
    """A NumPy array; tensors and their specifications stay, so that tree functions can rebuild the pair."""
    if isinstance(value, TokenIds):
        return value
    if type(value).__module__.split(".")[0] in ("tensorflow", "jax", "jaxlib", "keras"):
        return value
    return np.asarray(value)


class Examples(collections.namedtuple("Examples", "x y")):
    """Examples in memory: the pair `(x, y)`, with `y` None where there are no labels.

    It *is* a tuple, so it goes wherever a pair goes (`x, y = examples`, `batches(examples, ...)`, and, with
    labels, `tf.data.Dataset.from_tensor_slices(examples)`). Because it is a pair, `len(examples)` is 2; the
    number of examples is `examples.size`.

    Args:
        x: Array of shape (examples, ...), or a dict of such arrays; uint8 pictures stay uint8.
        y: Labels of shape (examples,) (class numbers or values) or (examples, classes), or None.
        class_names: List of str, the name of class i at place i, or None.
        name: Where the examples come from, for titles and reports, or None.

    Raises:
        ValueError: When `x` is a number or None, or `x` and `y` differ in length.

    Example:

    >>> import numpy as np
    >>> examples = Examples(np.zeros((6, 8, 8, 1), "uint8"), [0, 1, 0, 1, 0, 1], class_names=["cat", "dog"])
    >>> examples
    Examples(x=uint8 (6, 8, 8, 1), y=int64 (6,), 2 classes)
    >>> few = examples.few(2, seed=0)
    >>> few.size, sorted(few.y.tolist())
    (4, [0, 0, 1, 1])
    >>> training, validation = examples.split(1 / 3, seed=0)
    >>> training.size, validation.size
    (4, 2)
    """

    class_names = None
    name = None

    def __new__(cls, x, y=None, *, class_names=None, name=None):
        if isinstance(x, list) and x and all(isinstance(text, str) for text in x):
            x = np.array(x, dtype=object)  # one long text must not make all others long
        x = {key: _array(value) for key, value in x.items()} if isinstance(x, dict) else _array(x)
        y = None if y is None else _array(y)
        parts = [*(x.items() if isinstance(x, dict) else [("x", x)]), *([] if y is None else [("y", y)])]
        arrays = {key: value for key, value in parts if isinstance(value, np.ndarray)}
        lengths = {key: len(value) if value.ndim else None for key, value in arrays.items()}
        if not parts or None in lengths.values() or len(set(lengths.values())) > 1:
            raise ValueError(
                "examples need arrays of one length (one row per example). Received lengths "
                f"{lengths}. Give x, and y where there are labels, with the same first dimension."
            )
        self = super().__new__(cls, x, y)
        self.class_names = None if class_names is None else [str(c) for c in class_names]
        self.name = name
        return self

    def __getnewargs_ex__(self):  # pickling and copying keep the attributes
        return (self.x, self.y), {"class_names": self.class_names, "name": self.name}

    def __repr__(self):
        def describe(value):
            if isinstance(value, dict):
                return "{" + ", ".join(f"{k!r}: {describe(v)}" for k, v in value.items()) + "}"
            return "None" if value is None else f"{value.dtype} {value.shape}"

        parts = [f"x={describe(self.x)}", f"y={describe(self.y)}"]
        if self.class_names is not None:
            parts.append(f"{len(self.class_names)} classes")
        if self.name is not None:
            parts.append(f"name={self.name!r}")
        return f"Examples({', '.join(parts)})"

    @property
    def size(self):
        """Number of examples (`len` gives 2, the length of the pair)."""
        return len(next(iter(self.x.values())) if isinstance(self.x, dict) else self.x)

    def take(self, indices):
        """The examples at these rows, in this order.

        Args:
            indices: Integer or boolean array over the rows.

        Example:

        >>> Examples(np.arange(10), np.arange(10)).take([3, 1]).x
        array([3, 1])
        """
        indices = np.asarray(indices)
        indices = indices if indices.size else indices.astype(np.int64)
        x = {k: v[indices] for k, v in self.x.items()} if isinstance(self.x, dict) else self.x[indices]
        y = None if self.y is None else self.y[indices]
        return Examples(x, y, class_names=self.class_names, name=self.name)

    def map(self, function):
        """The same examples with `function` applied to x, such as the `encode` of a `TablePreprocessing`.

        Args:
            function: from x to an array, or a dict of arrays, of as many rows.

        Example:

        >>> Examples(np.arange(3), [0, 1, 0]).map(lambda x: 10 * x)
        Examples(x=int64 (3,), y=int64 (3,))
        """
        return Examples(function(self.x), self.y, class_names=self.class_names, name=self.name)

    def classes(self):
        """Class number of each example, shape (examples,), from integer or one-hot labels.

        Raises:
            ValueError: When there are no labels, or they are not one class per example.

        Example:

        >>> Examples(np.zeros((2, 4)), [[0.0, 1.0], [1.0, 0.0]]).classes()
        array([1, 0])
        """
        y = self.y
        if y is None:
            raise ValueError(
                "these examples have no labels (y is None), so they have no classes. Give labels y."
            )
        if y.ndim == 2 and y.shape[1] == 1:
            y = y[:, 0]
        if y.ndim == 2 and y.size and np.isin(y, (0, 1)).all() and (y.sum(axis=1) == 1).all():
            return y.argmax(axis=1)
        if y.ndim == 1 and (y.dtype.kind in "iubUS" or (y == np.round(y)).all()):
            return y if y.dtype.kind in "US" else y.astype(np.int64)
        raise ValueError(
            f"one class per example is needed. Received y of shape {y.shape} and dtype {y.dtype} that is "
            f"neither class numbers nor one-hot rows. Give integers of shape (examples,), or draw rows "
            f"with take(...)."
        )

    def few(self, labels_per_class, seed=0, *, rest=False):
        """Draws the same number of labelled examples from each class, as experiments with few labels do.

        Args:
            labels_per_class: How many examples of each class.
            seed: Integer; the same seed gives the same draw.
            rest: True to return also the row numbers that were not drawn, in increasing order.

        Returns:
            `Examples` in random order, or `(Examples, indices_not_taken)`.

        Raises:
            ValueError: Without labels, or when a class has fewer examples than asked for.

        Example:

        >>> examples = Examples(np.arange(8), [0, 0, 0, 0, 1, 1, 1, 1])
        >>> drawn, rest = examples.few(1, seed=3, rest=True)
        >>> drawn.size, len(rest)
        (2, 6)
        """
        if int(labels_per_class) != labels_per_class or labels_per_class < 1:
            raise ValueError(
                f"labels_per_class must be a whole number of at least 1. Received {labels_per_class!r}."
            )
        names, classes, counts = np.unique(self.classes(), return_inverse=True, return_counts=True)
        if len(counts) == 0 or counts.min() < labels_per_class:
            short = {str(n): int(c) for n, c in zip(names, counts, strict=True) if c < labels_per_class}
            raise ValueError(
                f"{labels_per_class} labels per class were asked for, but these classes have fewer examples: "
                f"{short or 'all (there are no examples)'}. Ask for fewer labels per class."
            )
        random = np.random.default_rng(seed)
        drawn = [
            random.permutation(np.flatnonzero(classes == c))[:labels_per_class] for c in range(len(names))
        ]
        drawn = random.permutation(np.concatenate(drawn))
        few = self.take(drawn)
        return (few, np.setdiff1d(np.arange(self.size), drawn)) if rest else few

    def split(self, fraction, seed=0, *, stratified=True):
        """Divides the examples in two: `(remaining, held_out)`, `held_out` being `fraction` of them.

        Class labels are held out in proportion (scikit-learn's `train_test_split`); examples without labels,
        or with values instead of classes, are divided at random.

        Args:
            fraction: Share of the second part, in (0, 1).
            seed: Integer; the same seed gives the same division.
            stratified: False to ignore the classes, for example where one of them has a single example.

        Raises:
            ValueError: When `fraction` is outside (0, 1), or a class is too small for both parts.

        Example:

        >>> training, validation = Examples(np.arange(10), [0] * 5 + [1] * 5).split(0.2)
        >>> sorted(validation.y.tolist())
        [0, 1]
        """
        from sklearn.model_selection import train_test_split

        if not 0 < fraction < 1:
            raise ValueError(f"fraction is the share of the held-out part, in (0, 1). Received {fraction!r}.")
        classes = None
        if stratified and self.y is not None:
            try:
                classes = self.classes()
            except ValueError:  # values or several labels per example: nothing to stratify by
                classes = None
            if classes is not None and len(np.unique(classes)) > max(100, self.size / 10):
                classes = None  # whole numbers that are values, such as prices
        try:
            kept, held_out = train_test_split(
                np.arange(self.size), test_size=fraction, random_state=seed, stratify=classes
            )
        except ValueError as error:
            raise ValueError(
                f"{self.size} examples cannot be divided with a fraction of {fraction} held out: {error} "
                f"Change the fraction, or pass stratified=False to divide without regard to the classes."
            ) from error
        return self.take(kept), self.take(held_out)
