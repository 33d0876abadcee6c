"""Kinds of number: what the engine's lines give when they are run on something else than floats."""
