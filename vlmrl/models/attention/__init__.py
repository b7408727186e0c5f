"""Attention over a packed row, in which a prompt is shared by its responses."""
