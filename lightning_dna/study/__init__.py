"""Studies: a recipe becomes arms, arms and seeds become cells, cells become scores, scores a
comparison.
"""
