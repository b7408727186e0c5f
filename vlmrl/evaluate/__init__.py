"""Evaluation of a policy: held-out reward inside a run, and the difficulty of prompts."""

BATCH = 256
"""Prompts that are encoded and answered at one time."""
