"""Classical and exact tests of two models: McNemar, DeLong, permutation."""
