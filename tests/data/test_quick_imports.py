"""roma without PyTorch's compiler: quick to import, and the compiler works as ever for those who use it."""

import subprocess
import sys

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
