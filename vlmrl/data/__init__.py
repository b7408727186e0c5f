"""Data sets: files of samples, their media, rows of other toolkits, and the check that they are right."""
