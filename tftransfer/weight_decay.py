"""AdamW whose weight decay follows a schedule of its own."""

from keras import ops

from tftransfer.layers import cosine, register
from tftransfer.lean_adamw import LeanAdamW

__all__ = ["ScheduledDecay"]


@register
class ScheduledDecay(LeanAdamW):
    """AdamW with a weight decay that goes from one value to another as a cosine, inside the step.

    `w ← w - η(t) · λ(t) · w` with `λ(t) = λ₁ + (λ₀ - λ₁) · (1 + cos(π · t / T)) / 2`. Little decay at first lets
    features form, more of it later keeps a long run from overfitting. DINO and I-JEPA are trained with it.

    Reference: Caron et al., Emerging Properties in Self-Supervised Vision Transformers, 2021,
    https://arxiv.org/abs/2104.14294 (weight decay from 0.04 to 0.4)

    Args:
        learning_rate: number or schedule.
        weight_decay: λ₀, at the first step.
        final_weight_decay: λ₁, from step `decay_steps` on.
        decay_steps: T, steps of the whole run.

    Raises:
        ValueError: for a final decay that is negative, or no steps.

    Example:

    >>> optimizer = ScheduledDecay(1e-3, weight_decay=0.04, final_weight_decay=0.4, decay_steps=2)
    >>> round(float(optimizer.decay_now()), 2)
    0.04
    """

    def __init__(
        self, learning_rate=1e-3, weight_decay=0.04, *, final_weight_decay=0.4, decay_steps=1000, **kwargs
    ):
        if final_weight_decay < 0 or decay_steps < 1:
            raise ValueError(
                f"final_weight_decay is 0 or more and decay_steps 1 or more; received {final_weight_decay} and "
                f"{decay_steps}."
            )
        super().__init__(learning_rate, weight_decay=weight_decay, **kwargs)
        self.final_weight_decay = final_weight_decay
        self.decay_steps = decay_steps

    def decay_now(self):
        """λ of the step that comes, a float32 scalar."""
        share = ops.minimum(ops.cast(self.iterations, "float32") / self.decay_steps, 1.0)
        return cosine(self.weight_decay, self.final_weight_decay, share)

    def get_config(self):
        mine = {"final_weight_decay": self.final_weight_decay, "decay_steps": self.decay_steps}
        return {**super().get_config(), **mine}
