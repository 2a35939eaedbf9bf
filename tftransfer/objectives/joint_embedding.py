"""What the objectives share that compare embeddings of two views of one example."""

from tftransfer.layers import check_view, default_view, pool, two_views
from tftransfer.objectives.objective import Objective


class JointEmbedding(Objective):
    """Base of the objectives that bring two views of one example together: views, pool and projections.

    A subclass sets `self.projector`, from embeddings `(batch, embedding_width)` to projections.

    Args:
        backbone: any built `keras.Model`; its features are averaged over places.
        augmentation: layer that gives a view of a batch; by default what suits the backbone's input.

    Input: a batch of examples, or `{"view_1": …, "view_2": …}` made beforehand.

    Raises:
        ValueError: for a backbone whose input has no default view, where `augmentation` is not given.

    Example:

    >>> from tftransfer import backbones, objectives
    >>> objective = objectives.VICReg(backbones.cnn((8, 8, 1), filters=(8, 16)))
    >>> objective.embedding_width, isinstance(objective, JointEmbedding)
    (16, True)
    """

    default_view_settings = {}  # of the `RandomView`, where the paper's differ from ours

    def __init__(self, backbone, *, augmentation=None, **kwargs):
        super().__init__(backbone, **kwargs)
        if augmentation is None:
            augmentation = default_view(backbone, **self.default_view_settings)
        self.augmentation = augmentation
        self.pool = pool(backbone.output_shape)
        self.embedding_width = self.pool.compute_output_shape(backbone.output_shape)[-1]

    @property
    def value_range(self):
        """Of pixels, outside of which the augmentation would cut them; None where it says nothing of it."""
        return getattr(self.augmentation, "value_range", None)

    def views(self, inputs):
        """Two views of each example: those made beforehand, or two draws of the augmentation."""
        return two_views(inputs, self.augmentation, objective=type(self).__name__)

    def project(self, view, training=None):
        """Projections `(batch, width)` of one view."""
        check_view(view, self.backbone, objective=type(self).__name__)
        return self.projector(self.pool(self.backbone(view, training=training)), training=training)
