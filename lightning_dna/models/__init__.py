"""Sequence models: one pre-norm backbone with two axes, sequence mixer and feed-forward."""
