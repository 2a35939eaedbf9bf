"""Evaluation: reports on a model, and whether pretraining helped."""

from tftransfer.evaluation.calibration import Reliability, expected_calibration_error, reliability
from tftransfer.evaluation.compare import compare
from tftransfer.evaluation.comparison import Comparison, Row
from tftransfer.evaluation.evaluate import evaluate
from tftransfer.evaluation.intervals import Interval, mean_interval, paired_interval
from tftransfer.evaluation.probes import Probe, embed, knn_accuracy, ridge_accuracy
from tftransfer.evaluation.regression import RegressionReport
from tftransfer.evaluation.report import Report

__all__ = [
    "Comparison",
    "Interval",
    "Probe",
    "RegressionReport",
    "Reliability",
    "Report",
    "Row",
    "compare",
    "embed",
    "evaluate",
    "expected_calibration_error",
    "knn_accuracy",
    "mean_interval",
    "paired_interval",
    "reliability",
    "ridge_accuracy",
]
