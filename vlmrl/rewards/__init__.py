"""What an answer is worth: calls to verifiers, composites of them, and the processes that judge."""
