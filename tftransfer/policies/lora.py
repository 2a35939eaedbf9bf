"""LoRA: small matrices beside the large ones learn, the large ones stay as they are."""

import dataclasses
import re

from tftransfer.policies.policy import Policy, Stage

__all__ = ["lora"]


def lora(rank=8, *, alpha=None, targets=".*", epochs=10, learning_rate=None):
    """Trains the head and, beside each targeted kernel W, two thin matrices: `W + alpha/rank · A B`.

    The kernels themselves do not change by a bit, so that many tasks share one backbone and each stores
    kilobytes: `finetuning.save_adapters` writes the thin matrices and the head alone, `finetuning.merge_lora`
        adds
    them to the kernels for good. Works on the layers for which Keras has `enable_lora`: Dense, EinsumDense,
    Embedding, and convolutions without groups.

    Reference: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021,
    https://arxiv.org/abs/2106.09685

    Args:
        rank: inner size of the thin matrices.
        alpha: scale of their product over `rank`; None is `rank`, a factor of 1.
        targets: regex on the paths of the kernels in the backbone, such as `"attention"`.
        epochs: passes over the labelled data.
        learning_rate: peak learning rate; None derives it, ten times that of `full`: new parameters move
            alone.

    Returns:
        A `Policy` of one stage.

    Raises:
        ValueError: for a number out of range, and, from `finetune`, where no kernel is targeted.

    Example:

    >>> from tftransfer.policies import lora
    >>> lora(4, targets="attention", epochs=5)
    lora(4, targets='attention', epochs=5)
    """
    if not isinstance(rank, int) or isinstance(rank, bool) or rank < 1:
        raise ValueError(f"lora: rank must be an integer of at least 1; received {rank!r}.")
    rules = {r"/lora_[^/]*$": 1.0, r"^head/": 1.0, r".*": 0.0}
    enable = Enable(rank, alpha, re.compile(targets).pattern)
    given = f", alpha={alpha:g}" if alpha is not None else ""
    given += f", targets={targets!r}" if targets != ".*" else ""
    return Policy(
        [Stage(f"lora({rank}{given})", rules, epochs, learning_rate, prepare=enable, rate_factor=10)]
    )


@dataclasses.dataclass(frozen=True)
class Enable:
    """Puts thin matrices beside the targeted kernels of a task."""

    rank: int
    alpha: float | None
    targets: str

    def __call__(self, context):
        path_of = {id(variable): path for path, variable in context.paths.items()}
        targeted = 0
        for layer in context.task.backbone._flatten_layers():
            paths = [path_of.get(id(variable), "") for variable in layer._trainable_variables]
            if hasattr(layer, "enable_lora") and any(re.search(self.targets, path) for path in paths if path):
                targeted += 1
                if not layer.lora_enabled:  # else it goes on learning
                    layer.enable_lora(self.rank, lora_alpha=self.alpha)
        if not targeted:
            raise ValueError(
                f"lora: no kernel of the backbone {context.task.backbone.name!r} that can have LoRA (Dense, "
                f"EinsumDense, Embedding, Conv) is found by targets={self.targets!r}. Correct the regex, or "
                "use policies.adapters, which also serve convolutions."
            )
