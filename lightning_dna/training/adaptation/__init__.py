"""Ways of using a checkpoint on a labelled task besides training all of its weights."""
