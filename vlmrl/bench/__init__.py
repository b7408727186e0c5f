"""Bench: how fast, as ratios of things that run side by side. docs/bench.md says what is measured and how.

    vlmrl bench update --against trl    the learner's update beside TRL's on the same prompts and completions
    vlmrl bench rollout                 the hf engine beside transformers' generate; --against trl: a whole step
    vlmrl bench verifiers math ocr      answers per second on one core, beside the domain library called directly
    vlmrl bench planner                 memory and seconds of random batches, beside what the learner predicted
    vlmrl bench isolation               1,000 answers of which 1 % are hostile, beside 1,000 clean ones

Each is a module of that name. Things compared take turns, round after round, so that a busy machine slows all of
them; the figures are medians.
"""
