"""Genomes as memory-mapped base codes: reading, intervals, splits, repeats and annotation."""
