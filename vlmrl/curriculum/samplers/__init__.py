"""Samplers: one file each; `vlmrl list samplers`. The protocol is in `vlmrl/curriculum/__init__.py`."""
