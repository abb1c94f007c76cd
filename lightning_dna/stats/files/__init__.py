"""Anybody's predictions: from files on disk to comparisons."""
