"""What tests share: stand-in body models, and the folder of photos and mocap that lies beside some checkouts."""

import importlib.util
import os

# Before PyTorch is loaded: waiting threads sleep, as in the CLI, and pytest-xdist's workers divide the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
    share = (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, share)))
from pathlib import Path
from types import ModuleType

import pytest


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def standins() -> ModuleType:
    """The module tests/standins.py, to build stand-in body models in other shapes."""
    return _load("standins")


@pytest.fixture(scope="session")
def readers() -> ModuleType:
    """The module tests/readers.py, which reads files of motion as other programs do."""
    return _load("readers")


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


@pytest.fixture(scope="session")
def open_body():
    """The open body that ships."""
    from bodyfit.data.body.body_model import load_body_model

    return load_body_model()


@pytest.fixture(scope="session")
def make_track(open_body):
    """A function that makes a track of smooth random motion; keywords replace its fields."""
    import numpy as np

    from bodyfit.data.results.track import Track

    def make(count=12, seed=0, **changes):
        rng = np.random.default_rng(seed)

        def swinging(width: int, size: float) -> np.ndarray:
            phase, speed = rng.uniform(0, 2 * np.pi, width), rng.uniform(0.5, 2.0, width)
            return size * rng.normal(size=width) * np.sin(phase + speed * np.arange(count)[:, None] / 4)

        given = {
            "person": "000",
            "fps": 29.97,
            "moments": np.arange(5, 5 + count),
            "space": "camera",
            "betas": rng.normal(size=10),
            "global_orient": np.array([np.pi, 0, 0]) + swinging(3, 0.2),
            "body_pose": swinging(63, 0.5),
            "left_hand_pose": open_body.hand_mean_left + swinging(45, 0.1),
            "right_hand_pose": open_body.hand_mean_right + swinging(45, 0.1),
            "jaw_pose": swinging(3, 0.1),
            "leye_pose": np.zeros((count, 3)),
            "reye_pose": np.zeros((count, 3)),
            "expression": swinging(10, 1.0),
            "transl": np.array([0.3, -0.2, 4.0]) + swinging(3, 0.3),
            "latent": rng.normal(size=(count, 32)),
            "status": ("fitted",) * (count - 1) + ("interpolated",),
            "views": np.array([1] * (count - 1) + [0]),
            "body_model": open_body.name,
            "body_gender": open_body.gender,
            "prior": "shipped",
        }
        return Track(**{**given, **changes})

    return make
