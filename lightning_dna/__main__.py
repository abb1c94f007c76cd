"""``python -m lightning_dna``: the same command line as ``lightning-dna``."""

from lightning_dna.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
