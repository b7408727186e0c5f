"""Peak memory is that of the work alone."""

from __future__ import annotations

import pytest
import torch
from helpers.in_processes import peaks

from vlmrl.bench.memory import in_new_process


@pytest.mark.slow
def test_peak_memory_is_that_of_the_work_alone() -> None:
    ballast = torch.ones(400 << 18)  # in this process, not in the child
    few, many = in_new_process(peaks, 50, 250)
    # The kernel counts resident pages in batches of up to a megabyte.
    assert 49 << 20 <= few < 120 << 20
    assert 249 << 20 <= many < 320 << 20
    assert ballast[0] == 1
