"""What a fit does not load: modules that take longer to import than the fit takes."""

import subprocess
import sys

_LOADS = """
import sys
from bodyfit.data.quick_imports import import_roma
import_roma()
from pathlib import Path
import bodyfit.fitting.run.folder_run
from bodyfit.fitting.run.config_files import RunConfig
from bodyfit.fitting.run.identity import run_identity
from bodyfit.fitting.solve.loading import load_fitter
config = RunConfig()
run_identity(load_fitter(config, "cpu"), config)
print(*(name for name in ("torch._dynamo", "sympy", "scipy", "trimesh", "pyrender") if name in sys.modules))
"""


def test_start_up_loads_neither_the_compiler_nor_what_draws():
    done = subprocess.run([sys.executable, "-c", _LOADS], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
