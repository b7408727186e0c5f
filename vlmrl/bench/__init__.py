"""Benchmarks of speed, as ratios of two sides that run alternately. docs/bench.md explains the measurements.

    vlmrl bench update --against trl    the learner's update beside TRL's on the same prompts and completions
    vlmrl bench rollout                 the hf engine beside transformers' generate; --against trl: a whole step
    vlmrl bench verifiers math ocr      answers per second on one core, beside direct calls of the domain library
    vlmrl bench planner                 measured memory and seconds of random batches, beside the predicted ones
    vlmrl bench isolation               1,000 answers of which 1 % are hostile, beside 1,000 clean ones

Each is a module of that name. The sides alternate in every round, so that a busy machine slows both; the figures are
medians.
"""
