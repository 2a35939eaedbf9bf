"""compare(): did pretraining help on these data, against a control that got the same care?"""

import platform

import keras
import numpy as np

from tftransfer.data import Examples, batches, read_texts
from tftransfer.evaluation.comparison import Comparison
from tftransfer.evaluation.labels import class_indices
from tftransfer.evaluation.trials import run_trials
from tftransfer.evaluation.wiring import Wiring


def compare(
    backbone_or_path,
    labelled,
    test,
    *,
    labels_per_class=(5,),
    draws=5,
    policy=None,
    scratch_policy=None,
    development=None,
    scratch_learning_rates=(3e-4, 1e-3, 3e-3),
    batch_size=32,
    seed=0,
    verbose="auto",
):
    """Fine-tunes a pretrained backbone on few labels and compares it with the same one trained from scratch.

    Both arms see the same stratified draws of labels. The control is given at least as many optimizer steps
    as the policy takes in all its stages, and as many as its BatchNormalization statistics need to forget
    their initial values; its learning rate is the best of `scratch_learning_rates` on development examples
    that neither the draws nor the test set share. No test example takes part in any choice. With `draws=1`
    there is no interval and no verdict.

    Seeds the global random generators (`keras.utils.set_random_seed`), so that a second call repeats the
    figures. A backbone handed over as a model has its own weights again afterwards.

    Args:
        backbone_or_path: A pretrained backbone, or the `.weights.h5` file that holds one.
        labelled: Labelled examples `(x, y)` to draw from, integer or one-hot labels, or a `tf.data.Dataset`.
        test: Labelled examples for the final figures alone.
        labels_per_class: How many labels per class to compare at: a number, or several.
        draws: How many draws of the labels; 5 or more for an interval worth having.
        policy: How the pretrained arm is fine-tuned; None is a linear probe of 100 steps, then 100 steps of
            everything.
        scratch_policy: How scratch is trained, its learning rates replaced by the chosen one; None is `full`.
        development: Labelled examples to choose scratch's learning rate on; None sets a stratified fifth of
            `labelled` aside.
        scratch_learning_rates: The rates to choose from; while the best one is the lowest or the highest, the
            next one beyond is tried as well, twice at most. A single rate is taken as it is.
        batch_size: Examples per step.
        seed: Fixes the draws, the heads and the initial weights: draw i uses `seed + i`.
        verbose: 0 silent, 1 progress bar, "auto" 1.

    Returns:
        A `Comparison`: print it, `plot()` it, `to_json()` it, read its `verdict`.

    Raises:
        ValueError: Labels that are missing, out of range or too few; test examples among the labelled ones; a
            scratch policy with fewer steps than the pretrained arm's.
        OSError: The file cannot be read.

    Example:
        >>> import numpy as np, tftransfer as tt
        >>> random = np.random.default_rng(0)
        >>> x, y = random.normal(size=(90, 4)).astype("float32"), np.arange(90) % 3
        >>> backbone = tt.backbones.mlp((4,), units=(8,))
        >>> quick = tt.policies.linear_probe(epochs=1)
        >>> comparison = tt.compare(backbone, (x[:60], y[:60]), (x[60:], y[60:]), draws=2, policy=quick,
        ...                         scratch_learning_rates=(1e-3,), verbose=0)
        >>> len(comparison.row(5, "scratch").accuracy)
        2
    """
    budgets = [labels_per_class] if isinstance(labels_per_class, int) else list(labels_per_class)
    rates = [float(rate) for rate in scratch_learning_rates]
    _check_numbers(budgets, draws, rates, batch_size)
    pool, test = _examples(labelled, "labelled"), _examples(test, "test")
    given = None if development is None else _examples(development, "development")
    classes = max(int(part.y.max()) + 1 for part in (pool, test, given) if part is not None)
    classes = max(classes, len(pool.class_names or ()))
    pool, held_out = pool.split(0.2, seed=seed) if given is None else (pool, given)
    _check_classes(pool, classes)
    _check_apart(pool, "labelled", test, "test")
    _check_apart(held_out, "development", test, "test")
    _check_apart(pool, "labelled", held_out, "development")
    for budget in budgets:
        pool.few(budget, seed=seed)  # too few examples of a class: say so before any work

    wiring = Wiring(
        backbone_or_path,
        classes,
        budgets,
        policy=policy,
        scratch_policy=scratch_policy,
        batch_size=batch_size,
    )
    pool, held_out, test = (read_texts(part, wiring.backbone) for part in (pool, held_out, test))
    searched = min(3, draws) if len(rates) > 1 else 0
    fits = len(budgets) * (draws + searched * len(rates) + draws - searched)
    scorings = 2 * draws * len(budgets)  # of the test examples
    bar = keras.utils.Progbar(fits + scorings, unit_name="fit or scoring", verbose=1) if verbose else None
    try:
        rows, searches = run_trials(
            wiring.arms(),
            lambda budget, seed: pool.few(budget, seed=seed),
            budgets=budgets,
            seeds=[seed + index for index in range(draws)],
            development=held_out,
            test=test,
            rates=rates,
            **({"tick": lambda: bar.add(1), "more": lambda fits: _lengthen(bar, fits)} if bar else {}),
        )
    finally:
        wiring.put_back()
    details = {
        "classes": classes,
        "drawn_from": pool.size,
        "development_examples": held_out.size,
        "test_examples": test.size,
        "batch_size": batch_size,
        "draw_seeds": [seed + index for index in range(draws)],
        "scratch_learning_rates": rates,
        "searches": searches,
        "policies": wiring.summary(),
        "versions": _versions(),
        "notes": _notes(searches, rates, held_out.size),
    }
    return Comparison(rows, details=details)


def _lengthen(bar, fits):
    bar.target += fits


def _check_numbers(budgets, draws, rates, batch_size):
    whole = all(
        isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in (*budgets, draws, batch_size)
    )
    if not budgets or len(set(budgets)) != len(budgets) or not whole:
        raise ValueError(
            "labels_per_class (a number or several different ones), draws and batch_size must be whole "
            f"numbers of at least 1; received {budgets}, {draws!r} and {batch_size!r}."
        )
    if not rates or not all(np.isfinite(rate) and rate > 0 for rate in rates):
        raise ValueError(f"scratch_learning_rates must be numbers above 0, three or more; received {rates}.")


def _examples(data, name):
    """Any labelled data as `Examples` in memory, one class number per example."""
    if isinstance(data, Examples) or (isinstance(data, tuple) and len(data) == 2):
        x, y = data
    else:
        parts = [pair for pair in batches(data, batch_size=256, scale=False) if isinstance(pair, tuple)]
        if not parts:
            raise ValueError(
                f"{name} must be labelled examples, (x, y) or a tf.data.Dataset; received no labels."
            )
        x, y = (
            keras.tree.map_structure(lambda *rows: np.concatenate(rows), *part)
            for part in zip(*parts, strict=True)
        )
    y = class_indices(y, name=name)
    return Examples(x, y, class_names=getattr(data, "class_names", None), name=name)


def _check_classes(pool, classes):
    missing = np.setdiff1d(np.arange(classes), pool.y)
    if classes < 2 or missing.size:
        raise ValueError(
            "a comparison needs labelled examples of each of at least two classes; of the "
            f"{classes} classes {missing.tolist()[:10]} have none. Number the classes from 0 without gaps."
        )


def _check_apart(one, name, other, other_name):
    """Raises when two sets share most of their examples; a few equal ones occur in honest data."""
    if isinstance(one.x, dict) or isinstance(other.x, dict):
        return
    seen = {_hash(row) for row in np.asarray(one.x)}
    shared = sum(_hash(row) in seen for row in np.asarray(other.x))
    if shared > 0.5 * other.size:
        raise ValueError(
            f"{shared} of the {other.size} {other_name} examples are also in {name}: the figures would say "
            f"nothing about new examples. Give {other_name} examples that are kept apart."
        )


def _hash(row):
    return hash(row if isinstance(row, (str, bytes)) else row.tobytes())


def _notes(searches, rates, held_out):
    notes = ["No test example took part in fine-tuning or in any choice: they were scored once, at the end."]
    if len(rates) == 1:
        return [*notes, f"Scratch's learning rate was given ({rates[0]:g}), not chosen."]
    edges = set()
    for search in searches:
        tried = sorted(search["development_accuracy"])
        notes.append(
            f"Scratch's learning rate at {search['labels_per_class']} labels per class is the best of "
            f"{', '.join(f'{rate:g}' for rate in tried)} on {held_out} other examples."
        )
        edges |= {search["learning_rate"]} & {tried[0], tried[-1]}
    if edges:
        notes.append(
            f"It lies at the edge of those tried ({', '.join(f'{rate:g}' for rate in sorted(edges))}): give "
            "scratch_learning_rates beyond it to be sure of the control."
        )
    return notes


def _versions():
    import sklearn

    import tftransfer

    return {
        "tftransfer": tftransfer.__version__,
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "numpy": np.__version__,
        "scikit-learn": sklearn.__version__,
        "python": platform.python_version(),
    }
