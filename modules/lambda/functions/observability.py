"""The log and the metrics of both functions."""

from aws_lambda_powertools import Logger, Metrics

logger = Logger()
metrics = Metrics()
