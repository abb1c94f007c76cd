"""The null grid: data whose truth is known, and how often the answers are wrong."""
