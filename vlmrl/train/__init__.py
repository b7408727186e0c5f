"""The trainer: its loop, learner, objective, planner, checkpoints and run folder."""
