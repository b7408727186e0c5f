"""Rows of other toolkits: their files, media, prompts, answers and schemas, for `vlmrl.data.convert`."""
