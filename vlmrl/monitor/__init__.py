"""What a run did: the ledger, its metrics and sinks, the summary and the report page."""
