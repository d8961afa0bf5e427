"""What tests share: stand-in body models, and the folder of photos and mocap that lies beside some checkouts."""

import importlib.util
import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before PyTorch is loaded: waiting threads sleep, as in the CLI
from pathlib import Path
from types import ModuleType

import pytest


def _load_standins() -> ModuleType:
    spec = importlib.util.spec_from_file_location("standins", Path(__file__).with_name("standins.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def standins() -> ModuleType:
    """The module tests/standins.py, to build stand-in body models in other shapes."""
    return _load_standins()


@pytest.fixture(scope="session")
def standin_folder(standins: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stand-ins for SMPL-X, SMPL-H and SMPL, laid out as smplx wants them."""
    folder = tmp_path_factory.mktemp("models")
    for kind in ("smplx", "smplh", "smpl"):
        arrays = standins.model_arrays(kind)
        if kind == "smpl":
            standins.write_pkl(folder / kind / "SMPL_NEUTRAL.pkl", arrays)
        else:
            standins.write_npz(folder / kind / f"{kind.upper()}_NEUTRAL.npz", arrays)
    return folder


@pytest.fixture(scope="session")
def standin_smplx_path(standin_folder: Path) -> Path:
    return standin_folder / "smplx" / "SMPLX_NEUTRAL.npz"


@pytest.fixture(scope="session")
def standin_smplh_path(standin_folder: Path) -> Path:
    return standin_folder / "smplh" / "SMPLH_NEUTRAL.npz"


@pytest.fixture(scope="session")
def standin_smpl_path(standin_folder: Path) -> Path:
    return standin_folder / "smpl" / "SMPL_NEUTRAL.pkl"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with photos and mocap for development; tests that use it are skipped where it is absent."""
    folder = Path(os.environ.get("BODYFIT_SHARED", Path(__file__).parents[2] / "shared"))
    if not folder.is_dir():
        pytest.skip(f"needs the photos and mocap of {folder} (or of the folder that BODYFIT_SHARED names)")
    return folder
