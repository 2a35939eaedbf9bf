"""Data: loading examples, looking at them, and turning them into batches for `keras.Model.fit`."""

from tftransfer.data.array_batches import NumpyBatches
from tftransfer.data.batches import batches, steps_per_epoch
from tftransfer.data.checks import check_examples
from tftransfer.data.classes import count_classes, labels_of
from tftransfer.data.csv_tables import load_csv
from tftransfer.data.dataset_batches import is_batched
from tftransfer.data.digits import load_digits
from tftransfer.data.duplicates import Duplicate, find_duplicates
from tftransfer.data.examples import Examples
from tftransfer.data.folders import load_folder
from tftransfer.data.labels import check_labels
from tftransfer.data.mixing import mixed
from tftransfer.data.npz import load_npz
from tftransfer.data.sources import load
from tftransfer.data.text_files import load_text
from tftransfer.data.texts import read_texts
from tftransfer.data.tfds import load_tfds
from tftransfer.data.views import two_views
from tftransfer.data.weighting import weighted
from tftransfer.layers.scaling import rescales_pixels

__all__ = [
    "Duplicate",
    "Examples",
    "NumpyBatches",
    "batches",
    "check_examples",
    "check_labels",
    "count_classes",
    "find_duplicates",
    "is_batched",
    "labels_of",
    "load",
    "load_csv",
    "load_digits",
    "load_folder",
    "load_npz",
    "load_text",
    "load_tfds",
    "mixed",
    "read_texts",
    "rescales_pixels",
    "steps_per_epoch",
    "two_views",
    "weighted",
]
