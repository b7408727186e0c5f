"""Monitoring of a run: the ledger, its metrics and sinks, the summary and the report page."""
