"""What can be wrong with a task itself. Each check gives its findings, or says in words why it cannot look."""

import keras

from tftransfer.finetuning.case import Finding, some

__all__ = ["activation", "batch_norm", "compile_state", "learning_rate"]

_BATCH = 16  # examples below which batch statistics are noise (Wu & He, 2018, arXiv 1803.08494, figure 5)


def activation(case):
    """The head's last activation against the loss's `from_logits`."""
    from tftransfer.evaluation.outputs import output_kind  # not above: evaluation stands on fine-tuning

    kind, from_logits = case.loss
    last = output_kind(case.head)
    if kind is None:
        return "the loss is no cross-entropy"
    if last is None:
        return "the last layer does not say its activation"

    def finding(what, cure):
        return Finding("error", "activation", what, cure)

    found = []
    if last != "logits" and from_logits:
        what = f"the head ends in {last}, and the loss (from_logits=True) applies it once more"
        cure = "Take the activation out of the head (a task's outputs are logits), or use from_logits=False."
        found.append(finding(what, cure))
    elif last == "logits" and from_logits is False:
        what = "the head gives logits, and the loss (from_logits=False) takes them for probabilities"
        found.append(finding(what, "Compile with a loss that has from_logits=True."))
    if last != "logits" and (kind == "binary") == (last == "softmax"):
        what = f"the head ends in {last}, which does not go with {kind} cross-entropy"
        cure = "softmax goes with (sparse) categorical cross-entropy, sigmoid with binary cross-entropy."
        found.append(finding(what, cure))
    if case.units == 1 and (last == "softmax" or kind != "binary"):
        what = "the softmax of a single output is always 1: nothing can be learned"
        found.append(finding(what, "Use two outputs, or one with binary cross-entropy."))
    return found


def batch_norm(case):
    """BatchNormalization that would use, and keep, the statistics of small batches."""
    layers = case.model._flatten_layers()
    kinds = keras.layers.BatchNormalization
    live = [layer.name for layer in layers if isinstance(layer, kinds) and layer.trainable]
    batch = min(case.batch_size, case.size)
    if not live or (batch >= _BATCH and case.size % batch != 1):
        return []
    how = f"batches of {batch} examples"
    cure = 'Keep their statistics frozen (full(batch_norm="frozen"), or linear_probe), or use larger batches.'
    if batch >= _BATCH:
        how = f"an epoch's last batch, which holds 1 example ({case.size} examples by {batch})"
        cure = "Take another batch_size, or leave one example out."
    names = some(sorted(live), 2)
    what = f"{len(live)} BatchNormalization layers ({names}) are live on {how}: their statistics are noise"
    return [Finding("warning", "batch norm", what, cure)]


def compile_state(case):
    """Whether what is trainable has changed since the compiled model built its optimizer."""
    optimizer = getattr(case.model, "optimizer", None)
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # of a LossScaleOptimizer
    if not case.model.compiled or optimizer is None or not optimizer.built:
        return "the model has not been trained since it was compiled"
    before = {id(variable) for variable in optimizer._trainable_variables}
    now = {id(variable) for variable in case.model.trainable_variables}
    if before == now:
        return []
    what = (
        f"`trainable` changed after compile, which Keras ignores: {len(now - before)} variables would stand "
        f"still and {len(before - now)} go on moving"
    )
    cure = "Compile again after each change of `trainable` (finetune compiles each stage itself)."
    return [Finding("error", "compile state", what, cure)]


def learning_rate(case):
    """The backbone's learning rate against that of its pretraining."""
    pretraining = getattr(case.model, "pretraining_learning_rate", None)
    rate = case.learning_rate
    by_hand = case.model.compiled and "_finetuning" not in vars(case.model)  # finetune: one optimizer a stage
    if rate is None and by_hand and case.backbone.trainable_variables:
        rate = _rate_of(case.model.optimizer)
    if not pretraining:
        return "the rate of pretraining is not known"
    if rate is None:
        return "no rate is given"
    if rate <= pretraining:
        return []
    what = f"the learning rate {rate:g} is above pretraining's {pretraining:g}: it overwrites what was pretrained"
    cure = f"Begin with a third of pretraining's, {pretraining / 3:g}, or look for one by tftransfer.lr_find."
    return [Finding("warning", "learning rate", what, cure)]


def _rate_of(optimizer):
    schedule = getattr(optimizer, "_learning_rate", None)
    if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        return max(float(schedule(step)) for step in (0, 1, 10, 100, 1000, 10_000))
    return float(keras.ops.convert_to_numpy(optimizer.learning_rate))
