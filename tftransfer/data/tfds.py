"""Data sets of TensorFlow Datasets by name, prepared from the internet or from local originals."""

import difflib
import logging
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np

from tftransfer.data import pictures
from tftransfer.data.examples import Examples
from tftransfer.data.progress import Progress
from tftransfer.data.tfds_streams import stream
from tftransfer.placement.cluster import cluster_of_tf_config


def _import_tfds():
    try:
        import tensorflow  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "data sets of TensorFlow Datasets are read with TensorFlow, which is not installed. Install it "
            '(`pip install "tftransfer[cpu]"`), or load a folder of pictures, an .npz file or "digits", '
            "which do without."
        ) from error
    import tensorflow_datasets

    logging.getLogger("absl").addFilter(_not_about_dtype)  # added once however often it is called
    return tensorflow_datasets


def _not_about_dtype(record):
    """Lets all log lines pass but TFDS's advice to its own developers, which users cannot follow."""
    return "`FeatureConnector.dtype` is deprecated" not in record.getMessage()


def find_builder(name, *, data_dir=None):
    """The TFDS builder of this name; an unknown name raises ValueError with the nearest known ones.

    Example:

    >>> find_builder("fashion_mnist").info.features["label"].num_classes
    10
    """
    tfds = _import_tfds()
    try:
        return tfds.builder(name, data_dir=data_dir)
    except tfds.core.registered.DatasetNotFoundError:
        known = tfds.list_builders()
        near = difflib.get_close_matches(name.split("/")[0].split(":")[0], known, n=4)
        raise ValueError(
            f"{name!r} is neither a file, nor a folder, nor one of the {len(known)} data sets of "
            f"TensorFlow Datasets. "
            + (f"Did you mean {', '.join(near)}? " if near else "")
            + "Give the path of a folder of pictures or an .npz file, or a name from "
            "https://www.tensorflow.org/datasets/catalog."
        ) from None


def _root(builder):
    """The data_dir the builder was made with: its own folder without name, config and version."""
    return Path(builder.data_dir).parents[builder.info.full_name.count("/")]


def missing_originals(builder, manual_dir):
    """The originals that TFDS would have to download: neither in `manual_dir` nor in its cache.

    Returns:
        Dict of url -> file name.
    """
    from tensorflow_datasets.core.download import resource

    downloads = _root(builder) / "downloads"
    manual = downloads / "manual" if manual_dir is None else Path(manual_dir)
    missing = {}
    for url, info in builder.url_infos.items():
        filename = info.filename or url.rstrip("/").rsplit("/", 1)[-1]
        cached = resource.get_dl_fname(url, info.checksum)
        places = (manual / filename, downloads / cached, downloads / builder.name / cached)
        if not any(place.is_file() for place in places):
            missing[url] = filename
    return missing


def _reachable(url, seconds=10):
    """Whether the server answers at all (through the proxies of the environment), within seconds instead "
    "of minutes."""
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=seconds).close()
    except urllib.error.HTTPError:
        return True  # a refusal of HEAD is an answer
    except (OSError, ValueError):
        return False
    return True


def prepare(builder, *, manual_dir=None):
    """Prepares a TFDS data set once, from local originals where they are given, else by download.

    Args:
        builder: A `tfds` builder; when it is prepared already, nothing happens.
        manual_dir: Folder of the original files; None takes TFDS's own, `<data_dir>/downloads/manual`.

    Raises:
        ConnectionError: At once, when originals are missing and their server cannot be reached. The message
            names the files.
    """
    if builder.is_prepared():
        return
    tfds = _import_tfds()
    if manual_dir is not None and not Path(manual_dir).is_dir():
        raise FileNotFoundError(
            f"manual_dir={str(manual_dir)!r} is no folder. Give the folder that holds the originals."
        )
    missing = missing_originals(builder, manual_dir)
    if missing and not _reachable(next(iter(missing))):
        url = next(iter(missing))
        shown = list(dict.fromkeys(missing.values()))
        more = f", and {len(shown) - 8} more" if len(shown) > 8 else ""
        place = manual_dir or _root(builder) / "downloads" / "manual"
        raise ConnectionError(
            f"{builder.info.full_name} is not prepared in {_root(builder)}, and its originals can neither be "
            f"found nor downloaded ({url} does not answer). Files expected in {place}: "
            f"{', '.join(shown[:8])}{more}. Pass manual_dir= the folder that holds these files (unchanged: "
            f"their checksums are verified), or data_dir= a folder where the data set is prepared already, "
            f"or connect to the internet."
        )
    config = tfds.download.DownloadConfig(manual_dir=None if manual_dir is None else str(manual_dir))
    print(f"Preparing {builder.info.full_name} in {_root(builder)} (once; later runs read it from there).")
    builder.download_and_prepare(download_config=config)


def _columns(builder):
    """(key of x, key of y or None, class names or None), from the builder's features."""
    features = builder.info.features
    keys = builder.info.supervised_keys
    if keys is not None and len(keys) == 2 and all(isinstance(k, str) for k in keys):
        x_key, y_key = keys
    elif "image" in features:
        x_key, y_key = "image", "label" if "label" in features else None
    else:
        raise ValueError(
            f"{builder.info.full_name} does not say which feature is the input. It has {sorted(features)}. "
            f"Load it with tfds.load and map it to (x, y) yourself: a tf.data.Dataset is accepted wherever "
            f"data is."
        )
    names = getattr(features[y_key], "names", None) if y_key is not None else None
    return x_key, y_key, list(names) if names else None


def _fit(picture, size):
    """As `pictures.fit_image`, in TensorFlow, for one decoded picture (height, width, channels)."""
    import tensorflow as tf

    picture = tf.convert_to_tensor(picture)
    shape, target = tf.shape(picture)[:2], tf.constant(size)
    scale = tf.reduce_max(target / shape)
    box = tf.minimum(shape, tf.cast(tf.round(tf.cast(target, tf.float64) / scale), tf.int32))
    top, left = tf.unstack((shape - box) // 2)
    cropped = tf.slice(picture, [top, left, 0], [box[0], box[1], -1])
    resized = tf.image.resize(cropped, size, method="bilinear", antialias=True)
    if picture.dtype.is_integer:
        resized = tf.saturate_cast(tf.round(resized), picture.dtype)
    return tf.ensure_shape(resized, (*size, picture.shape[-1]))


def load_tfds(name, *, split=None, image_size=None, data_dir=None, manual_dir=None, memory_limit=2 * 1024**3):
    """Reads a data set of TensorFlow Datasets into memory, or as a `tf.data.Dataset` when it is too big.

    Reference: TensorFlow Datasets, https://www.tensorflow.org/datasets

    Args:
        name: Its name there, such as "fashion_mnist" or "imagenette/160px-v2".
        split: A split as TFDS writes it ("test", "train[:10%]"); None is "train".
        image_size: Side in pixels or (height, width); needed when the pictures differ in size.
        data_dir: Where prepared data sets lie and are put; None is TFDS's default (~/tensorflow_datasets).
        manual_dir: Folder with the original files, used instead of downloading them.
        memory_limit: Bytes of x to hold in memory at most.

    Returns:
        `Examples` with x as TFDS has it (uint8 pictures) and y, or None; beyond `memory_limit` an unbatched
        `tf.data.Dataset` of (x, y) or x, with the attribute `class_names`, which is read while it is trained on.
        Where `TF_CONFIG` names several workers, it is a share for each of them, every example in one of them
        (but for the remainder by their number), so that a large data set is read once an epoch over all workers.

    Raises:
        ValueError: For an unknown name or split, or pictures of different sizes without `image_size`.
        ConnectionError: At once, when the originals are neither there nor downloadable.
        ImportError: Without TensorFlow.

    Example:

    >>> test = load_tfds("fashion_mnist", split="test")  # doctest: +SKIP
    """
    size = pictures.size_of(image_size)
    builder = find_builder(name, data_dir=data_dir)
    prepare(builder, manual_dir=manual_dir)
    split = "train" if split is None else split
    splits = sorted(builder.info.splits or {})
    if splits and split.split("[")[0] not in (*splits, "all") and "+" not in split:
        raise ValueError(f"{name} has the splits {', '.join(splits)}. Received split={split!r}.")
    x_key, y_key, class_names = _columns(builder)
    wanted = {x_key} if y_key is None else {x_key, y_key}
    dataset = stream(builder, split, wanted)

    def example(features):
        x = features[x_key]
        x = x if size is None else _fit(x, size)
        return x if y_key is None else (x, features[y_key])

    import tensorflow as tf

    dataset = dataset.map(example, num_parallel_calls=tf.data.AUTOTUNE)
    spec = dataset.element_spec if y_key is None else dataset.element_spec[0]
    if not spec.shape.is_fully_defined():
        raise ValueError(
            f"the examples of {name} differ in shape ({tuple(spec.shape)}). Pass image_size= (pixels) for "
            f"pictures; other data has to be cut to one shape with tfds.load and map."
        )
    count = int(dataset.cardinality())
    if count < 0 or count * int(np.prod(spec.shape)) * spec.dtype.size > memory_limit:
        cluster = cluster_of_tf_config()
        if cluster is not None and len(cluster.addresses) > 1:
            share = stream(builder, split, wanted, cluster)
            dataset = share.map(example, num_parallel_calls=tf.data.AUTOTUNE)
        dataset.class_names = class_names
        return dataset
    x, y = _to_memory(dataset, count, f"reading {name} ({split})")
    return Examples(x, y, class_names=class_names, name=f"{name}/{split}")


def _to_memory(dataset, count, what):
    progress, arrays, done = Progress(count, what), None, 0
    for batch in dataset.batch(256).prefetch(2).as_numpy_iterator():
        batch = batch if isinstance(batch, tuple) else (batch,)
        if arrays is None:
            arrays = [np.empty((count, *part.shape[1:]), part.dtype) for part in batch]
        rows = slice(done, done + len(batch[0]))
        for array, part in zip(arrays, batch, strict=True):
            array[rows] = part
        done = rows.stop
        progress.add(len(batch[0]))
    if arrays is None:
        raise ValueError(f"there are no examples ({what}). Choose another split.")
    return arrays[0][:done], arrays[1][:done] if len(arrays) > 1 else None
