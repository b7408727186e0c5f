"""Hooks: one file each; `vlmrl list hooks`. The protocol is in `vlmrl/rollout/hook.py`."""
