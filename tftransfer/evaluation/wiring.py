"""The two arms of `compare` as this library's own models: one task each, so that nothing is traced twice."""

import dataclasses
import math

import keras

from tftransfer import placement
from tftransfer.evaluation.evaluate import evaluate
from tftransfer.evaluation.trials import Arms
from tftransfer.finetuning import finetune
from tftransfer.finetuning.heads import renew_head
from tftransfer.policies import Policy, full, linear_probe
from tftransfer.tasks import Classifier

_PROBE_STEPS = _FULL_STEPS = 100  # of the default policy, whatever the number of labels
_SETTLED = 0.01  # share of the initial value left in a BatchNormalization statistic that counts as settled


class Reader(placement.PlacedModel):
    """A classifier for reading alone: it stays traced, where `finetune` compiles the task itself anew."""

    def __init__(self, task):
        super().__init__(name="reader")
        self.task, self.num_classes, self.multi_label = task, task.num_classes, task.multi_label
        self.built = True

    def call(self, inputs):
        return self.task(inputs, training=False)


class Wiring:
    """Builds, fits and scores the pretrained and the scratch classifier for `trials.run_trials`.

    Args:
        backbone_or_path: What `compare` was given.
        classes: Number of classes.
        budgets: Numbers of labels per class.
        policy: Policy of the pretrained arm, or None.
        scratch_policy: Policy of the control, or None.
        batch_size: Examples per step.

    Raises:
        ValueError: The control's policy takes fewer steps than the pretrained arm's.
        OSError: The file cannot be read.
    """

    def __init__(self, backbone_or_path, classes, budgets, *, policy, scratch_policy, batch_size):
        self._classes, self._budgets, self._batch_size = classes, budgets, batch_size
        self._policy, self._scratch_policy = policy, scratch_policy
        pretrained = Classifier(backbone_or_path, num_classes=classes)
        backbone = self.backbone = pretrained.backbone
        self._pretrained_weights = backbone.get_weights()
        self._flags = [(layer, layer.trainable) for layer in backbone._flatten_layers()]
        with pretrained.scope():
            scratch = Classifier(_fresh(backbone), num_classes=classes)
            self._readers = {id(task): Reader(task) for task in (pretrained, scratch)}
        self._tasks = {"pretrained": pretrained, "scratch": scratch}
        for budget in budgets:
            steps = {
                arm: self._steps(self.policy(arm, budget * classes), budget * classes) for arm in self._tasks
            }
            if steps["scratch"] < steps["pretrained"]:
                raise ValueError(
                    f"scratch_policy takes {steps['scratch']} optimizer steps at {budget} labels per class, "
                    f"fewer than the pretrained arm's {steps['pretrained']}: unfair. Give it more epochs."
                )

    def arms(self):
        """The plain functions that the protocol calls."""
        return Arms(
            build=self._build,
            fit=self._fit,
            score=lambda task, examples: evaluate(self._readers[id(task)], examples, verbose=0).metrics,
            snapshot=lambda task: task.get_weights(),
            restore=self._restore,
        )

    def policy(self, arm, examples, rate=None):
        """The policy of one arm for so many examples; `rate` replaces the control's learning rates."""
        per_epoch = self._steps_per_epoch(examples)
        if arm == "pretrained":
            if self._policy is not None:
                return self._policy
            probe, tune = (math.ceil(steps / per_epoch) for steps in (_PROBE_STEPS, _FULL_STEPS))
            return linear_probe(epochs=probe) + full(epochs=tune)
        if self._scratch_policy is not None:
            stages = [dataclasses.replace(stage, learning_rate=rate) for stage in self._scratch_policy]
            return Policy(stages) if rate else self._scratch_policy
        steps = max(self._steps(self.policy("pretrained", examples), examples), self._settling_steps())
        return full(epochs=math.ceil(steps / per_epoch), learning_rate=rate)

    def summary(self):
        """Both policies in words, per label budget."""
        return [
            {"labels_per_class": n} | {arm: repr(self.policy(arm, n * self._classes)) for arm in self._tasks}
            for n in self._budgets
        ]

    def put_back(self):
        """Gives the backbone its pretrained weights and `trainable` flags again."""
        self._tasks["pretrained"].backbone.set_weights(self._pretrained_weights)
        for layer, trainable in self._flags:
            layer.trainable = trainable

    def _build(self, arm, seed):
        """The arm's one task, as new: a fresh head, and the pretrained or fresh weights under it."""
        keras.utils.set_random_seed(seed)
        task = self._tasks[arm]
        fresh = arm == "scratch"
        task.backbone.set_weights(_fresh(task.backbone).get_weights() if fresh else self._pretrained_weights)
        renew_head(task)
        return task

    def _fit(self, task, arm, examples, rate):
        policy = self.policy(arm, examples.size, rate)
        finetune(task, examples, policy=policy, batch_size=self._batch_size, verbose=0)
        return self._steps(policy, examples.size)

    def _restore(self, arm, weights):
        self._tasks[arm].set_weights(weights)
        return self._tasks[arm]

    def _steps_per_epoch(self, examples):
        return math.ceil(examples / min(self._batch_size, examples))

    def _steps(self, policy, examples):
        return sum(stage.epochs for stage in policy) * self._steps_per_epoch(examples)

    def _settling_steps(self):
        """Steps after which the slowest BatchNormalization statistics have forgotten their initial values."""
        layers = self._tasks["scratch"].backbone._flatten_layers()
        momenta = [layer.momentum for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
        slowest = min(max(momenta, default=0.0), 0.999)
        return math.ceil(math.log(_SETTLED) / math.log(slowest)) if slowest > 0 else 0


def _fresh(backbone):
    """The same architecture with new initial weights; adapted `Normalization` layers stay adapted."""
    fresh = type(backbone).from_config(backbone.get_config())
    for new, old in zip(fresh._flatten_layers(), backbone._flatten_layers(), strict=True):
        if isinstance(old, keras.layers.Normalization) and old.weights:
            new.set_weights(old.get_weights())
            new.finalize_state()  # else it goes on with the mean and variance it was made with
    return fresh
