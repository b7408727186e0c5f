"""Engines, one in each file: `vlmrl list engines`. The protocol is in `vlmrl/rollout/__init__.py`."""
