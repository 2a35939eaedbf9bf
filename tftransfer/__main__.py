"""The command line: `tftransfer pretrain | finetune | evaluate | inspect | demo`, thin over the library."""

import argparse
import os
import sys

from tftransfer import chosen_data, on_workers

_PICTURES = "digits, a TFDS name such as fashion_mnist, a folder of pictures, or an .npz file"
_DATA = (
    f"{_PICTURES}; a table (.csv, .tsv); texts (.txt, one a line, or a folder of .txt files, each one text)"
)


def main(arguments=None):
    """Runs the command line.

    Args:
        arguments: list of strings; by default those of the process.

    Returns:
        The exit status: 0, or 2 when something the user gave does not serve (said on standard error).
    """
    options = _parser().parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's start-up notes would bury ours
    try:
        if getattr(options, "workers", None):
            on_workers.launch_command(sys.argv[1:] if arguments is None else arguments, options.workers)
            return 0
        with on_workers.speaking():
            options.run(options)
    except (ValueError, OSError, ImportError, FloatingPointError) as error:
        print(f"tftransfer {options.command}: {error}", file=sys.stderr)
        return 2
    return 0


def _parser():
    parser = argparse.ArgumentParser(
        prog="tftransfer",
        description="Pretrain any Keras model without labels, keep it in a file, fine-tune it on few labels.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name, run, help):
        sub = commands.add_parser(
            name, help=help, description=help, formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )
        sub.set_defaults(run=run)
        return sub

    def data(sub, required=True, **more):
        sub.add_argument("--data", required=required, help=_DATA, **more)
        sub.add_argument("--split", help="part of the data; by default the training part where there is one")
        sub.add_argument(
            "--image-size", type=int, help="side of the pictures in pixels; by default as they are"
        )
        sub.add_argument(
            "--label", help="of a table: the column of the labels, which is no part of the examples"
        )
        sub.add_argument("--text", help="of a table: the column of the texts, for a backbone of texts")
        sub.add_argument(
            "--documents", action="store_true", default=None, help="of a .txt file: texts end at blank lines"
        )
        sub.add_argument("--data-dir", help="folder of prepared TFDS data")
        sub.add_argument("--manual-dir", help="folder of the originals that TFDS would otherwise download")

    def several(sub):
        sub.add_argument("--resume", action="store_true", help="continue an interrupted run")
        sub.add_argument(
            "--workers", type=int, help="run as a Ray Train job on so many workers; resumes by itself"
        )

    def common(sub, batch_size):
        sub.add_argument(
            "--batch-size", type=int, default=batch_size, help="examples a step, over all devices"
        )
        sub.add_argument("--strategy", default="auto", help="auto, cpu, gpu, mirrored, multi_worker or tpu")
        sub.add_argument("--seed", type=int, default=0, help="seed of everything random")

    sub = command("pretrain", _pretrain, "Pretrain a backbone on data without labels and save it.")
    data(sub)
    sub.add_argument(
        "--objective", default="simclr", help="simclr, autoencoder(noise=0.2), masked_autoencoder, ..."
    )
    sub.add_argument(
        "--backbone", default="cnn", help="mlp, cnn, resnet18, vit(width=64, depth=4), bert, gpt, ..."
    )
    sub.add_argument(
        "--tokenizer",
        default="auto",
        help="of texts: wordpiece, bpe, unigram (trained on them), or a tokenizer.json",
    )
    sub.add_argument("--vocabulary-size", type=int, default=8000, help="of texts: tokens at most")
    sub.add_argument("--max-length", type=int, default=128, help="of texts: tokens a row at most")
    sub.add_argument("--epochs", type=int, default=100, help="passes over the data")
    sub.add_argument("--out", required=True, help="the file to write, *.weights.h5")
    several(sub)
    sub.add_argument("--pictures", help="folder for pictures: views, reconstructions, samples, a map, curves")
    common(sub, 256)

    sub = command("finetune", _finetune, "Fine-tune a saved backbone on labelled data.")
    sub.add_argument("weights", help="a file that pretrain wrote")
    data(sub)
    sub.add_argument("--labels", type=int, help="labels per class to use; by default all")
    sub.add_argument(
        "--policy", default="linear_probe+full", help="stages, chained: linear_probe(epochs=5)+full"
    )
    sub.add_argument("--out", required=True, help="the file to write, *.keras")
    several(sub)
    common(sub, 32)

    sub = command("evaluate", _evaluate, "Evaluate a fine-tuned model on labelled data.")
    sub.add_argument("model", help="a .keras file that finetune wrote")
    data(sub)
    sub.add_argument("--json", help="file for the figures")
    sub.add_argument("--plot", help="file for the picture")
    common(sub, 256)

    sub = command("inspect", _inspect, "Show what a weights file holds.")
    sub.add_argument("weights", help="a .weights.h5 file")

    sub = command("demo", _demo, "Run the whole story on real data and show whether pretraining helped.")
    sub.add_argument("--data", default="digits", help=_PICTURES)
    sub.add_argument("--data-dir", help="folder of prepared TFDS data")
    sub.add_argument("--manual-dir", help="folder of the originals that TFDS would otherwise download")
    sub.add_argument("--objective", default="simclr", help="name of an objective")
    sub.add_argument("--backbone", default="cnn", help="name of a backbone")
    sub.add_argument(
        "--labels", type=int, nargs="+", default=[5], help="labels per class, one number or several"
    )
    sub.add_argument("--draws", type=int, default=5, help="draws of the labels")
    sub.add_argument("--epochs", type=int, help="pretraining epochs; by default what suits the data")
    sub.add_argument("--out", default="demo", help="folder for the results")
    sub.add_argument("--seed", type=int, default=0, help="seed of everything random")
    return parser


def _show(*lines):
    """Prints the equivalent Python."""
    print("In Python:\n\n    import keras\n    import tftransfer as tt\n\n    " + "\n    ".join(lines) + "\n")


def _pretrain(options):
    import keras

    import tftransfer as tt
    from tftransfer import specs

    build_backbone, backbone_options = specs.resolve(options.backbone, tt.backbones)
    build_objective, objective_options = specs.resolve(options.objective, tt.objectives)
    strategy = tt.placement.strategy(options.strategy)  # first: several workers connect before all else
    examples = chosen_data.load(options)
    shape, examples, shape_text, encoding = chosen_data.read_by_new_backbone(
        examples, build_backbone, options
    )
    _show(
        f"strategy = tt.placement.strategy({options.strategy!r})",
        f"examples = {chosen_data.load_text(options)}",
        *encoding,
        f"keras.utils.set_random_seed({options.seed})",
        "with strategy.scope():",
        f"    backbone = {specs.call_text('tt.backbones', build_backbone, shape_text, **backbone_options)}",
        f"    objective = {specs.call_text('tt.objectives', build_objective, 'backbone', **objective_options)}",
        f"{'history = ' if options.pictures else ''}tt.pretrain(objective, examples, epochs={options.epochs}, "
        f"batch_size={options.batch_size}, "
        f"save_to={options.out!r}, {'resume=True, ' if options.resume else ''}seed={options.seed})",
        *[f"tt.evaluation.gallery(objective, examples, {options.pictures!r}, history=history)"]
        * bool(options.pictures),
    )
    keras.utils.set_random_seed(options.seed)
    with strategy.scope():
        objective = build_objective(build_backbone(shape, **backbone_options), **objective_options)
    history = tt.pretrain(
        objective,
        examples,
        epochs=options.epochs,
        batch_size=options.batch_size,
        save_to=options.out,
        resume=options.resume,
        seed=options.seed,
    )
    if options.pictures:
        for path in tt.evaluation.gallery(objective, examples, options.pictures, history=history):
            print(f"Picture  {path}")


def _finetune(options):
    import keras

    import tftransfer as tt
    from tftransfer import specs

    if not options.out.endswith(".keras"):
        raise ValueError(f"--out must end in .keras, the whole model; received {options.out!r}.")
    policy = specs.resolve_policy(options.policy)
    strategy = tt.placement.strategy(options.strategy)
    examples = chosen_data.load(options)
    if not isinstance(examples, tuple) or examples.y is None:
        raise ValueError(f"{options.data} has no labels in memory to fine-tune on. Give labelled data.")
    classes = len(examples.class_names or ()) or int(examples.classes().max()) + 1
    few = (
        f".few({options.labels}, seed={options.seed})"
        if options.labels is not None
        else f".split(0.1, seed={options.seed})"
    )
    of_texts = chosen_data.is_table(examples) and chosen_data.is_of_texts(options.weights)
    encode = chosen_data.encoding(examples, of_texts)
    parts = ("examples",) if options.labels else ("examples", "validation")
    state = options.out.removesuffix(".keras") + ".state.h5" if options.resume else False
    _show(
        f"strategy = tt.placement.strategy({options.strategy!r})",
        f"examples{'' if options.labels else ', validation'} = {chosen_data.load_text(options)}{few}",
        f"keras.utils.set_random_seed({options.seed})",
        "with strategy.scope():",
        f"    task = tt.tasks.Classifier({options.weights!r}, num_classes={classes})",
        *[f"{part} = {part}{encode}" for part in parts if encode],
        f"tt.finetune(task, examples, {'' if options.labels else 'validation_data=validation, '}"
        f"policy={specs.policy_text(options.policy)}, batch_size={options.batch_size}, "
        f"{f'resume={state!r}, ' if state else ''}seed={options.seed})",
        f"task.save({options.out!r})",
    )
    validation = None
    if options.labels is not None:
        examples = examples.few(options.labels, seed=options.seed)
    else:
        examples, validation = examples.split(0.1, seed=options.seed)
    keras.utils.set_random_seed(options.seed)
    with strategy.scope():
        task = tt.tasks.Classifier(options.weights, num_classes=classes)
    tt.finetune(
        task,
        chosen_data.read_by(task, examples),
        validation_data=chosen_data.read_by(task, validation),
        policy=policy,
        batch_size=options.batch_size,
        resume=state,
        seed=options.seed,
    )
    workers = tt.placement.workers_of(task)
    with workers.agree():
        if workers.is_chief:
            with tt.weights.atomic_write(options.out) as temporary:
                task.save(temporary)
    print(f"Saved the model to {options.out}.")


def _evaluate(options):
    import keras

    import tftransfer as tt

    examples = chosen_data.load(options, split="test")
    with tt.placement.strategy(options.strategy).scope():
        task = keras.models.load_model(options.model)
    encode = chosen_data.encoding(examples, tt.layers.tokenization_of(task) is not None)
    _show(
        f"with tt.placement.strategy({options.strategy!r}).scope():",
        f"    task = keras.models.load_model({options.model!r})",
        f"print(tt.evaluate(task, {chosen_data.load_text(options, split='test')}{encode}))",
    )
    report = tt.evaluate(task, chosen_data.read_by(task, examples), batch_size=options.batch_size)
    print(report)
    if options.json:
        report.to_json(options.json)
    if options.plot:
        report.plot(options.plot)


def _inspect(options):
    import tftransfer as tt

    print(tt.weights.describe(options.weights))


def _demo(options):
    from tftransfer.demo import demo

    demo(
        options.data,
        objective=options.objective,
        backbone=options.backbone,
        labels_per_class=options.labels,
        draws=options.draws,
        epochs=options.epochs,
        folder=options.out,
        data_dir=options.data_dir,
        manual_dir=options.manual_dir,
        seed=options.seed,
    )


if __name__ == "__main__":
    sys.exit(main())
