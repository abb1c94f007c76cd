"""Paired resampling statistics: every number of a report, its interval, its test, its verdict.

The walk: ``Predictions`` -> ``align`` -> ``bootstrap_metrics`` -> ``estimates`` and ``compare``.
"""
