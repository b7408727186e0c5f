"""Model families: a file for each `model_type` of transformers, with what is particular to it."""
