"""load_backbone: the model of a self-describing file, rebuilt, reloaded and checked."""

from tftransfer.weights.arrival import Arrival, deliver
from tftransfer.weights.config import rebuild
from tftransfer.weights.hugging_face import HuggingFace, is_hugging_face
from tftransfer.weights.order import by_topology
from tftransfer.weights.paths import slots
from tftransfer.weights.sources import open_source


def load_backbone(path, *, custom_objects=None, return_receipt=False):
    """Rebuilds the backbone that a self-describing file holds, and loads its weights by path.

    The config is read in Keras's safe mode and may name Keras's classes and registered ones only: nothing is
    imported or executed at the file's word. Each variable of the file goes to the variable of the same path;
    the checksum of each is compared before and after. Call it in the scope of the strategy that will train
    the model.

    Args:
        path: a file of `save_backbone` or `pretrain`; or a folder of Hugging Face with a BERT or GPT-2
            (`config.json`, `model.safetensors` and the tokenizer's file), which becomes our `bert` or `gpt`.
        custom_objects: classes that the config names and that are not registered, by name.
        return_receipt: whether to return `(model, receipt)`; `receipt.record` holds what the file says of
        itself.

    Returns:
        The `keras.Model`, or `(model, receipt)`.

    Raises:
        OSError: the file is missing or must not be read.
        ValueError: it is damaged, unsafe, not self-describing, or its weights do not fit its config.

    Example:

    >>> import keras, tempfile
    >>> from tftransfer.weights import save_backbone
    >>> backbone = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="d")], name="encoder")
    >>> path = save_backbone(backbone, tempfile.mkdtemp() + "/encoder.weights.h5")
    >>> model, receipt = load_backbone(path, return_receipt=True)
    >>> model.name, receipt.percent_loaded
    ('encoder', 100.0)
    """
    if is_hugging_face(path):
        model, receipt = HuggingFace(path).load()
        return (model, receipt) if return_receipt else model
    with open_source(path) as source:
        record = source.record
        if record is None or record.backbone is None:
            lacks = "the config of its model" if record else "a description of itself (plain Keras wrote it)"
            raise ValueError(
                f"{str(path)!r} lacks {lacks}, so no model can be rebuilt from it. Build the model in code, "
                "then load the file by `tftransfer.weights.transfer_weights(path, model)`."
            )
        parameters = sum(entry.parameters for entry in source.entries)
        model = rebuild(
            record.backbone, repr(str(path)), parameters=parameters, custom_objects=custom_objects
        )
        pairs = by_topology(source.entries, slots(model), repr(str(path)))
        arrivals = [Arrival(pair, source.read(pair.entry)) for pair in pairs]
        receipt = deliver(source, model, arrivals).verify().assert_loaded()
    return (model, receipt) if return_receipt else model
