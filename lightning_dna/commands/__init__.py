"""Verbs of the command line that have many options: their arguments, and what they call."""
