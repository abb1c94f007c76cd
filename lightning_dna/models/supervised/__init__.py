"""Networks that are trained on a labelled task from nothing: published baselines and likenesses."""
