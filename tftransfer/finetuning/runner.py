"""finetune(): runs the stages of a policy, each freshly compiled, as one continuous history."""

from tftransfer import placement
from tftransfer.checkpoints import check_save_every
from tftransfer.data.dataset_batches import is_dataset
from tftransfer.data.glance import glance
from tftransfer.data.texts import read_texts
from tftransfer.finetuning.accumulation import accumulation_of
from tftransfer.finetuning.caching import Caching
from tftransfer.finetuning.checks import check_data, check_policy, check_task, count_steps
from tftransfer.finetuning.heads import build_head
from tftransfer.finetuning.resuming import settings_of
from tftransfer.finetuning.ridge import check_head
from tftransfer.finetuning.run import Run
from tftransfer.finetuning.targets import Targets
from tftransfer.weights.files import check_folder

__all__ = ["finetune"]


def finetune(
    task,
    data,
    *,
    validation_data=None,
    policy=None,
    batch_size=32,
    callbacks=(),
    resume=False,
    verbose="auto",
    optimizer=None,
    monitor="auto",
    seed=0,
    class_weight=None,
    label_smoothing=0.0,
    mixing=None,
    accumulate=None,
    cache="auto",
    cache_dtype="float32",
    augmentation_draws=None,
    save_every=None,
):
    """Fine-tunes a task on labelled data, stage by stage.

    For each stage of the policy: sets which variables move, compiles afresh with the task's default loss and
    metrics, says what is trained, how fast at which depth, what BatchNormalization does, and (after the first
    epoch, or some seconds) how long it will take, and fits.
    With `validation_data` the weights of the best epoch over *all* stages are put back at the end. While the
    whole backbone is frozen its embeddings are computed once and the head is trained on these: same result,
    sooner (of texts in another order, for embeddings need not be put together by length).

    On several machines (`placement.strategy("multi_worker")`) each worker calls this with the same arguments and reads
    its rows of each batch; the chief alone writes files and speaks. What one of them lacks is said by all before the
    first step.

    What it does can be done by hand: set `trainable`, `compile`, `fit`. Which variables move, the policy
    alone decides, whatever `trainable` flags were set before; afterwards these are put back as they were. The
    task is left compiled, to be evaluated, used and saved. To go on training it by hand, compile it with the
    optimizer of your choice.

    Args:
        task: a `tasks.Task`; one without a head gets it for the classes in the data.
        data: labelled examples: `(x, y)`, what `tt.data.load` returned, or a `tf.data.Dataset`; x may be texts where
            the backbone reads texts.
        validation_data: the same, to choose the best epoch by; never used for training.
        policy: a `policies.Policy`; default `linear_probe() + full()`.
        batch_size: examples per step, over all replicas; at most the number of examples is used.
        callbacks: `keras.callbacks.Callback`s, for every stage. One that sets the learning rate
            (`LearningRateScheduler`, `ReduceLROnPlateau`) gets a constant rate instead of the cosine.
        resume: True: keep the state of the run in the working folder, under a name made of its settings, and
            go on from it if it is there: after a kill at any moment the same call, on a task built the same
            way, ends with the weights of the undisturbed run. Or the path of that state, `*.weights.h5`.
            Removed at the end. (The state of your own callbacks is not kept.)
        verbose: 0 silent, 1 progress bars, 2 a line per epoch; `"auto"` is 1.
        optimizer: a `keras.optimizers.Optimizer` whose configuration each stage copies; default Adam. Its
            learning rate serves the stages that give none. With `use_ema=True` the moving average of the
            weights is what is validated and kept (`ExponentialAverage`); for SWA give `StochasticAverage()`
            among the callbacks. `global_clipnorm` clips by the norm over all that is trained.
        monitor: the figure that chooses the best epoch; `"auto"` is the task's first metric on the validation
            data.
        seed: of the order of the examples, and of `mixing` where the layer has none.
        class_weight: what each class counts in the training loss: a dict `{class: weight}`, or "balanced" for
            `n / (k · n_c)`, so that each of k classes counts the same in all. Not in the validation figures.
        label_smoothing: ε in [0, 1): the target of the labelled class becomes `1 − ε + ε / k`, of the others
            `ε / k`; of a single logit, and of each of several labels, `y (1 − ε) + ε / 2`. In the loss on
            validation data as well.
        mixing: `keras.layers.MixUp(0.2)`, `keras.layers.CutMix()` or another layer that mixes the examples of
            a batch, and their labels alike (`data.mixed`). The frozen part then runs in every step, and
            training's accuracy is against the likeliest of the mixed labels.
        accumulate: batches to an update; None for the `gradient_accumulation_steps` of the optimizer, or 1.
            The same as a `batch_size` so many times larger, in less memory: an epoch's last group may be
            smaller, every example counts the same, and schedules count updates. BatchNormalization still sees
            batches. Batches of a `tf.data.Dataset` of batches count alike, whatever their sizes. On several
            replicas it works with optimizers that update each variable for itself (not Nadam, not Muon).
        cache: where the features of what is frozen are kept while a stage trains on them: "auto": in memory
            if they take at most a quarter of what is free, else in temporary files, where there is room and
            they are no larger than eight times the examples; "memory"; "disk"; False: nowhere, so that the
            frozen part runs in every step; or the path of a folder, where they stay, to be taken up again by
            a later run with the same frozen weights, layers, examples and preprocessing (by their hashes).
        cache_dtype: "float32", or "float16": half the room, rounded features.
        augmentation_draws: None: where examples are augmented, or dropout is at work in the frozen part, that
            runs in every step. A number K: K draws of each example are computed once, and epoch e trains on
            draw `e % K`.
        save_every: steps between two states on disk; None saves twice a minute. With `resume`, a SIGTERM (a machine
            that is about to be taken away) saves at once and ends the program with status 143.

    Returns:
        A `keras.callbacks.History` with the epochs of all stages numbered on, and the attributes `stages` (a
        dict per stage) and `best_epoch` (its number in `epoch`; None without validation data).

    Raises:
        ValueError: before any step, for data that do not fit the task, an argument that makes no sense for it,
            a pattern that is found in no variable path, a stage that would train nothing, or workers that differ
            in data or settings; later, when the loss is no longer a finite number.
        OSError: when the folder of features cannot be written, or the disk is full.

    Example:

    >>> import numpy as np, tftransfer as tt
    >>> x, y = np.random.default_rng(0).normal(size=(20, 8)).astype("float32"), np.arange(20) % 2
    >>> task = tt.tasks.Classifier(tt.backbones.mlp((8,), units=(4,)), num_classes=2)
    >>> history = finetune(task, (x, y), policy=tt.policies.linear_probe(epochs=2), verbose=0)
    >>> history.epoch
    [0, 1]
    """
    caching = Caching.of(cache, dtype=cache_dtype, draws=augmentation_draws, seed=seed)
    check_task(task)
    data = read_texts(data, task)
    validation_data = read_texts(validation_data, task, name="validation_data")
    workers = placement.workers_of(task)
    verbose = verbose if workers.is_chief else 0
    check_save_every(save_every, resume is not False, "resume")
    with workers.agree() as common:
        placement.check_precision(task)
        check_data(task, data)
        if validation_data is not None:
            check_data(task, validation_data, training=False)
        if workers.is_chief and resume not in (True, False):
            check_folder(resume)
        if workers.count > 1:
            common["the data"] = glance(data)
            common["the validation data"] = None if validation_data is None else glance(validation_data)
    build_head(task, data)
    policy = check_policy(policy, task)
    if any(stage.init == "ridge" for stage in policy):
        check_head(task)
    targets = Targets(
        task,
        data,
        validation_data,
        batch_size=batch_size,
        seed=seed,
        class_weight=class_weight,
        label_smoothing=label_smoothing,
        mixing=mixing,
        workers=workers,
    )
    shape = task.backbone.input_shape[1:]
    with workers.agree() as common:
        steps = count_steps(data, batch_size=batch_size, input_shape=shape, share=workers.share)
        settings = {"batch_size": batch_size, "steps_per_epoch": steps, "seed": seed, **targets.settings()}
        common["the settings"] = settings_of(policy, optimizer, **settings)
    if not is_dataset(data):
        plan = placement.batch_plan(targets.batch_size, task, drop_remainder=False, verbose=False)
        if verbose and plan.replicas > 1:
            print(plan)
    accumulation = accumulation_of(
        accumulate, optimizer, data, batch_size=batch_size, steps=steps, input_shape=shape
    )
    run = Run(
        task,
        targets,
        policy,
        steps,
        callbacks=callbacks,
        verbose=verbose,
        optimizer=optimizer,
        accumulation=accumulation,
        monitor=monitor,
        resume=resume,
        save_every=save_every,
        caching=caching,
    )
    try:
        for number in range(len(policy)):
            run.stage(number)
    except BaseException:
        run.flags.restore()
        raise
    finally:
        caching.forget()
    return run.finish()
