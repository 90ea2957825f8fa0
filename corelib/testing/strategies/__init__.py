"""Hypothesis strategies, one module per room: what the property tests draw from."""
