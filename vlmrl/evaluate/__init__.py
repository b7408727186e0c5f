"""How good a policy is: held-out evaluation inside a run, and the difficulty of prompts."""
