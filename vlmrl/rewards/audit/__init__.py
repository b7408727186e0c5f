"""Proof of one verifier: its contract, what known tricks earn with it, its speed."""
