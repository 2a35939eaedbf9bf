"""All pictures that there are of a pretrained objective, in one folder."""

from pathlib import Path

import numpy as np

from tftransfer import data as sources
from tftransfer.evaluation.curves import history_figure
from tftransfer.evaluation.embedding_map import embedding_figure
from tftransfer.evaluation.pictures import (
    reconstructions_figure,
    reconstructs,
    samples,
    samples_figure,
    views_figure,
)
from tftransfer.evaluation.probes import embed

_MAPPED = 1000  # examples of the map


def gallery(objective, examples, folder, *, history=None):
    """Saves every picture that there is of an objective and what it learned.

    `views.png` where it compares augmented views; `reconstructions.png` where it draws its input again or fills in what
    was hidden; `samples.png` where it makes examples; `embeddings.png`, a map of the features of up to 1000 examples,
    coloured by class where they have labels; `history.png`. Each is a figure that Python shows as well: see
    `views_figure`, `reconstructions_figure`, `samples_figure`, `embedding_figure` and `history_figure`.

    Args:
        objective: A pretrained `objectives.Objective`.
        examples: Array x, `(x, y)`, `Examples` or `tf.data.Dataset`, as in `pretrain`; best ones that were not
            trained on.
        folder: Where to write; it is made where it is not there.
        history: What `pretrain` returned, for its curves.

    Returns:
        The paths that were written, a list.

    Raises:
        ValueError: There are fewer than four examples.
        OSError: The folder cannot be written.

    Example:

    >>> import tempfile
    >>> from tftransfer import backbones, data, objectives
    >>> objective = objectives.MaskedAutoencoder(backbones.vit((8, 8, 1), width=32, depth=1, num_heads=2))
    >>> [path.name for path in gallery(objective, data.load_digits("test"), tempfile.mkdtemp())]
    ['reconstructions.png', 'embeddings.png']
    """
    folder, written = Path(folder), []
    x, y, class_names = _some(examples, objective.backbone)

    def save(name, draw, *arguments, **options):
        written.append(folder / name)
        draw(*arguments, **options, path=folder / name)

    augmentation = getattr(objective, "augmentation", None)
    if callable(augmentation) and x.ndim == 4:
        save("views.png", views_figure, augmentation, x)
    if reconstructs(objective):
        save("reconstructions.png", reconstructions_figure, objective, x)
    if samples(objective):
        save("samples.png", samples_figure, objective)
    save("embeddings.png", embedding_figure, embed(objective.backbone, x), y, class_names)
    if history is not None:
        save("history.png", history_figure, history)
    return written


def _some(examples, backbone):
    """Some examples in memory, their classes where they have one each, and the names of these."""
    if isinstance(examples[0] if isinstance(examples, tuple) else examples, dict):
        raise ValueError("the pictures are of plain examples; received a dict. Give x, an array.")
    if not isinstance(examples, tuple) and not hasattr(examples, "__array__"):
        stream = sources.batches(
            examples, batch_size=_MAPPED, scale=False, input_shape=backbone.input_shape[1:]
        )
        batch = next(iter(stream))
        examples = tuple(np.asarray(part) for part in (batch if isinstance(batch, tuple) else (batch,)))
    pair = examples if isinstance(examples, tuple) else (examples,)
    examples = sources.Examples(*pair[:2], class_names=getattr(examples, "class_names", None))
    examples = examples.take(np.arange(min(_MAPPED, examples.size)))
    try:
        classes = examples.classes()
    except ValueError:  # none, or values instead of classes
        classes = None
    many = classes is not None and (classes.dtype.kind in "US" or classes.min() < 0 or classes.max() > 1000)
    return examples.x, None if many else classes, examples.class_names
