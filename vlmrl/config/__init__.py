"""The run file: one file a section, with every setting, its type, default and meaning."""
