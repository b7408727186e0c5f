"""Verdicts over HTTP: the service and its client."""
