"""Studies: a recipe becomes arms, arms and seeds cells, cells scores, scores a comparison."""
