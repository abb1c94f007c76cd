"""Genomes as memory-mapped base codes: reading, intervals, chromosome splits and repeats."""
