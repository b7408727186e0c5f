"""Engines: one file each; `vlmrl list engines`. The protocol is in `vlmrl/rollout/__init__.py`."""
