# Run in the repository root. DATA is the folder of the data.
lightning-dna data leakage --suite genomic-benchmarks --tasks-root "$DATA/genomic-benchmarks/coordinates" --coordinates --out reports/leakage/genomic-benchmarks
lightning-dna data leakage --suite gue --tasks-root "$DATA/gue" --out reports/leakage/gue
lightning-dna data leakage --suite reports/leakage/yeast-places/suite.yaml --tasks-root "$DATA/gue" --genome "$DATA/saccer3/sacCer3.softmask.fa.gz" \
  --pretraining "$DATA/saccer3/sacCer3.softmask.fa.gz" --split 'valid=[chrXII]' --split 'test=[chrIV,chrX]' --split 'exclude=[chrM]' \
  --out reports/leakage/yeast-places
python benchmarks/homology_agreement.py "$DATA/hashfrag-mpra/example_train_split.fa.gz" "$DATA/hashfrag-mpra/example_test_split.fa.gz" --out reports/leakage/hashfrag.md
