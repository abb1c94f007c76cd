# Run in the repository root. DATA is the folder of the data.
lightning-dna data leakage --suite genomic-benchmarks --tasks-root "$DATA/genomic-benchmarks/coordinates" --coordinates --out reports/leakage/genomic-benchmarks
lightning-dna data leakage --suite gue --tasks-root "$DATA/gue" --out reports/leakage/gue
