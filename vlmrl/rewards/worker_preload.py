"""Loads every verifier and what it imports when it first judges: worker processes are forked after this."""

import contextlib
import gc

import vlmrl.rewards.worker_process  # noqa: F401 - what a process runs
from vlmrl import catalog
from vlmrl.rewards.calls import Call, run_calls
from vlmrl.verdict import Member

for name in catalog.names("verifiers"):
    with contextlib.suppress(Exception):
        module = catalog.load("verifiers", name)
        if not catalog.is_soft(name):
            run_calls([Call(name, (Member(e.response),), e.target, e.params) for e in module.EXAMPLES])

# What is loaded here is shared with the processes to come; a collection in one of them would copy all of it.
gc.collect()
gc.freeze()
