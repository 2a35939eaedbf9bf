"""Tasks: backbone → pool → head, one file each."""

from tftransfer.tasks.classifier import Classifier
from tftransfer.tasks.generator import Generator
from tftransfer.tasks.pair_classifier import PairClassifier
from tftransfer.tasks.regressor import Regressor
from tftransfer.tasks.sentence_index import SentenceIndex
from tftransfer.tasks.seq2seq import Seq2Seq
from tftransfer.tasks.tagger import Tagger
from tftransfer.tasks.task import Task

__all__ = [
    "Classifier",
    "Generator",
    "PairClassifier",
    "Regressor",
    "SentenceIndex",
    "Seq2Seq",
    "Tagger",
    "Task",
]
