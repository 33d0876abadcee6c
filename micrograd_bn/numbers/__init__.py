"""Kinds of number of our own: what the engine does with them, it does without knowing them."""
