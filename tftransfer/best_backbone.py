"""The weights of a backbone at the epoch that its probe liked best: in a file beside the run's, or in memory."""

from pathlib import Path

from tftransfer import weights
from tftransfer.placement import Workers


class BestBackbone:
    """Keeps a backbone's weights whenever `keep` is called, and puts the last ones kept back.

    Args:
        backbone: the backbone.
        save_to: path of the run's weights file, beside which `*.best.weights.h5` lies until the run ends; None keeps
            the weights in memory, which a killed run loses.
        resume: whether what a killed run left there is gone on with; else it is removed.
        workers: the `placement.Workers` that train together: the chief alone writes, all put back what it has.

    Attributes:
        epoch: the epoch that was kept, None before.
        accuracy: what its probe gave, -1 before.

    Example:

    >>> from tftransfer import backbones
    >>> backbone = backbones.mlp((8,), units=(4,))
    >>> best = BestBackbone(backbone, None)
    >>> best.keep(3, 0.5)
    >>> best.put_back(), best.epoch
    (True, 3)
    """

    def __init__(self, backbone, save_to, *, resume=False, workers=None):
        self.workers = workers or Workers()
        self.backbone, self.epoch, self.accuracy, self._weights = backbone, None, -1.0, None
        self.path = (
            None if save_to is None else Path(str(save_to).removesuffix(".weights.h5") + ".best.weights.h5")
        )
        if self.path is None:
            return
        if not resume and self.workers.is_chief:
            self.path.unlink(missing_ok=True)
        path = self.workers.fetch(self.path)
        if path.exists():
            record = weights.describe(path).history
            self.epoch, self.accuracy = int(record["epoch"][0]), float(record["probe_accuracy"][0])

    def keep(self, epoch, accuracy):
        """Keeps the weights as they are now."""
        self.epoch, self.accuracy = epoch, accuracy
        if self.path is None:
            self._weights = self.backbone.get_weights()
        elif self.workers.is_chief:
            weights.save_backbone(
                self.backbone, self.path, history={"epoch": [epoch], "probe_accuracy": [accuracy]}
            )

    def put_back(self):
        """Gives the backbone the weights that were kept, if any were; returns whether."""
        if self.epoch is None:
            return False
        if self.path is None:
            self.backbone.set_weights(self._weights)
        else:
            weights.transfer_weights(self.workers.fetch(self.path), self.backbone, adapt=())
        return True

    def delete(self):
        """Removes the file, when the run has ended."""
        if self.path is not None and self.workers.is_chief:
            self.path.unlink(missing_ok=True)
