"""Data sets of TensorFlow Datasets that are read as they are trained on: from TFRecord or ArrayRecord, in shares."""

import numpy as np

__all__ = ["stream"]


def stream(builder, split, wanted, cluster=None):
    """The examples of a split as a `tf.data.Dataset` of dicts of features, read while it is iterated.

    Of several workers each reads a share of its own, as large as the others' (as many examples as there are workers,
    less one, may be left out), and the dataset says so (`auto_shard_policy` OFF): together they read every example
    once an epoch, and nobody opens what the others read.

    Args:
        builder: a prepared `tfds` builder.
        split: the split as TFDS writes it.
        wanted: names of the features that are wanted.
        cluster: the `placement.cluster.Cluster` of workers; None reads everything.
    """
    import tensorflow as tf
    import tensorflow_datasets as tfds

    workers, index = (1, 0) if cluster is None else (len(cluster.addresses), cluster.index)
    if _by_place(builder):
        dataset = _random_access(builder, split, sorted(wanted), workers, index)
    else:
        if workers > 1:
            split = tfds.even_splits(split, n=workers, drop_remainder=True)[index]
        decoders = tfds.decode.PartialDecoding(dict.fromkeys(wanted, True))
        dataset = builder.as_dataset(split=split, shuffle_files=False, decoders=decoders)
    if workers > 1:
        options = tf.data.Options()
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
        dataset = dataset.with_options(options)
    return dataset


def _by_place(builder):
    """Whether the files are ArrayRecord, which is read example by example."""
    return getattr(builder.info.file_format, "name", "") == "ARRAY_RECORD"


def _random_access(builder, split, names, workers, index):
    import tensorflow as tf

    source = builder.as_data_source(split=split)
    count = len(source) // workers * workers
    specs = [builder.info.features[name].get_tensor_spec() for name in names]

    def read(place):
        features = source[int(place)]
        return [np.asarray(features[name]) for name in names]

    def example(place):
        values = tf.numpy_function(read, [place], [spec.dtype for spec in specs], stateful=False)
        for value, spec in zip(values, specs, strict=True):
            value.set_shape(spec.shape)
        return dict(zip(names, values, strict=True))

    return tf.data.Dataset.range(index, count, workers).map(example, num_parallel_calls=tf.data.AUTOTUNE)
