"""roma without PyTorch's compiler: quick to import, and the compiler works as ever for those who use it."""

import signal
import subprocess
import sys

import pytest

from bodyfit.data.quick_imports import ctrl_c_afterwards

SCRIPT = """
import sys
import torch
from bodyfit.data.quick_imports import import_roma

before = "torch._dynamo" in sys.modules
import_roma()
import roma
if not before:
    assert "torch._dynamo" not in sys.modules, "the compiler was loaded"
turn = torch.tensor([[0.3, -0.2, 0.5]], dtype=torch.float64)
assert torch.allclose(roma.rotmat_to_rotvec(roma.rotvec_to_rotmat(turn)), turn)
import torch._dynamo  # the real one, for programs that compile
assert torch._dynamo.__file__ and callable(torch._dynamo.optimize)
assert torch.allclose(roma.rotmat_to_rotvec(roma.rotvec_to_rotmat(turn)), turn)
compiled = torch.compile(lambda x: 2 * x, backend="eager")
assert torch.equal(compiled(turn), 2 * turn)
"""


def test_roma_comes_without_the_compiler_and_the_compiler_still_works():
    subprocess.run([sys.executable, "-c", SCRIPT], check=True, timeout=120)


def test_ctrl_c_counts_after_what_it_must_not_interrupt():
    done = []
    with pytest.raises(KeyboardInterrupt), ctrl_c_afterwards():
        signal.raise_signal(signal.SIGINT)
        done.append(True)
    assert done and signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_who_ignores_ctrl_c_goes_on_doing_so():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with ctrl_c_afterwards():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
