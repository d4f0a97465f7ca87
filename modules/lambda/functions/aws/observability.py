"""The log and the metrics of both functions."""

import warnings

from aws_lambda_powertools import Logger, Metrics

# A delivery that repeats another counts nothing, and that is no reason for a warning in the log.
warnings.filterwarnings("ignore", "No application metrics to publish")

logger = Logger()
metrics = Metrics()
