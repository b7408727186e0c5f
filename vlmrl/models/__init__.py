"""The model: policy, formatter, packed rows, logprobs, vision cache."""
