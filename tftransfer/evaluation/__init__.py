"""Evaluation: reports on a model, and whether pretraining helped."""

from tftransfer.evaluation.calibration import Reliability, expected_calibration_error, reliability
from tftransfer.evaluation.compare import compare
from tftransfer.evaluation.comparison import Comparison, Row
from tftransfer.evaluation.cross_validation import CrossValidation, cross_validate
from tftransfer.evaluation.curves import history_figure
from tftransfer.evaluation.embedding_map import embedding_figure
from tftransfer.evaluation.entities import EntityReport, entities, invalid_tags
from tftransfer.evaluation.evaluate import evaluate
from tftransfer.evaluation.gallery import gallery
from tftransfer.evaluation.health import Health, alignment, uniformity
from tftransfer.evaluation.intervals import Interval, mean_interval, paired_interval
from tftransfer.evaluation.pictures import reconstructions_figure, samples_figure, views_figure
from tftransfer.evaluation.probes import Probe, embed, knn_accuracy, ridge_accuracy
from tftransfer.evaluation.regression import RegressionReport
from tftransfer.evaluation.report import Report
from tftransfer.evaluation.text_reports import TextReport, bleu

__all__ = [
    "Comparison",
    "CrossValidation",
    "EntityReport",
    "Health",
    "Interval",
    "Probe",
    "RegressionReport",
    "Reliability",
    "Report",
    "Row",
    "TextReport",
    "alignment",
    "bleu",
    "compare",
    "cross_validate",
    "embed",
    "embedding_figure",
    "entities",
    "evaluate",
    "expected_calibration_error",
    "gallery",
    "history_figure",
    "invalid_tags",
    "knn_accuracy",
    "mean_interval",
    "paired_interval",
    "reconstructions_figure",
    "reliability",
    "ridge_accuracy",
    "samples_figure",
    "uniformity",
    "views_figure",
]
