"""Evaluation of a policy: held-out reward inside a run, and the difficulty of prompts."""
