"""Threads of torch in a worker: as many as its CPUs, and at least one."""

import pytest
import torch

from codeblock.core.threads import use_threads


@pytest.fixture(autouse=True)
def _restore():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("cpus", "threads"), [(0.5, 1), (1.0, 1), (2.0, 2), (3.9, 3)])
def test_a_worker_has_as_many_threads_as_whole_cpus(cpus, threads):
    use_threads(cpus)
    assert torch.get_num_threads() == threads
