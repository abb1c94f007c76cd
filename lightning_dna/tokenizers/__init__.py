"""Tokenizers: base codes or text into the token ids a model reads."""
