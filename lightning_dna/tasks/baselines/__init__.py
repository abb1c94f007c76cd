"""Baselines without a language model, scored on the very same examples."""
