"""Weights of the data sources, from pilot runs."""
