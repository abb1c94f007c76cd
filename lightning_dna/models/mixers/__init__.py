"""Sequence mixers: the part of a block in which positions see each other. One file each."""
