"""Transformers over generations: the study `transformer_generations`."""
