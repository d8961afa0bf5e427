"""Files of motion as other programs read them, written independently of their writers: animated .glb, .trc, .bvh."""

import json
import struct

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from bodyfit.data.motion.bvh import read_bvh

TYPES = {5126: np.float32, 5121: np.uint8, 5125: np.uint32}
WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}


class Player:
    """Plays the one animation of a .glb as the specification says, written independently of the writer."""

    def __init__(self, path):
        data = path.read_bytes()
        [length] = struct.unpack_from("<I", data, 12)
        self.content, self.binary = json.loads(data[20 : 20 + length]), data[28 + length :]
        [self.animation] = self.content["animations"]
        self.times = self.array(self.animation["samplers"][0]["input"])[:, 0]

    def array(self, number):
        accessor = self.content["accessors"][number]
        view, width = self.content["bufferViews"][accessor["bufferView"]], WIDTHS[accessor["type"]]
        kind, offset = TYPES[accessor["componentType"]], view.get("byteOffset", 0)
        return np.frombuffer(self.binary, kind, accessor["count"] * width, offset).reshape(-1, width)

    def vertices(self, time):
        """World positions of the mesh at a time in seconds."""
        nodes = [dict(node) for node in self.content["nodes"]]
        mesh = self.content["meshes"][0]
        weights = np.array(mesh.get("weights", []))
        for channel in self.animation["channels"]:
            sampler = self.animation["samplers"][channel["sampler"]]
            assert sampler["interpolation"] == "LINEAR"
            times, values = self.array(sampler["input"])[:, 0], self.array(sampler["output"])
            target = channel["target"]
            if target["path"] == "rotation":
                value = Slerp(times, Rotation.from_quat(values))(time).as_quat() if len(times) > 1 else values[0]
            else:
                values = values.reshape(len(times), -1)
                value = np.array([np.interp(time, times, column) for column in values.T])
            if target["path"] == "weights":
                assert nodes[target["node"]]["mesh"] == 0
                weights = value
            else:
                nodes[target["node"]][target["path"]] = value
        world = {}
        for index in self.content["scenes"][0]["nodes"]:
            self._walk(nodes, index, np.eye(4), world)
        [primitive], [skin] = mesh["primitives"], self.content["skins"]
        attributes = primitive["attributes"]
        points = self.array(attributes["POSITION"]).astype(float)
        for weight, target in zip(weights, primitive.get("targets", []), strict=True):
            points = points + weight * self.array(target["POSITION"])
        inverse_bind = self.array(skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)
        matrices = np.stack([world[joint] for joint in skin["joints"]]) @ inverse_bind
        joints, shares = self.array(attributes["JOINTS_0"]), self.array(attributes["WEIGHTS_0"])
        blended = np.einsum("vk,vkxy->vxy", shares, matrices[joints])
        return np.einsum("vxy,vy->vx", blended[:, :3, :3], points) + blended[:, :3, 3]

    def _walk(self, nodes, index, parent, world):
        local = np.eye(4)
        local[:3, :3] = Rotation.from_quat(nodes[index].get("rotation", [0, 0, 0, 1])).as_matrix()
        local[:3, 3] = nodes[index].get("translation", [0, 0, 0])
        world[index] = parent @ local
        for child in nodes[index].get("children", []):
            self._walk(nodes, child, world[index], world)


def read_trc(path):
    """Names, numbers, times and points, as Pose2Sim and OpenSim read them: tabs, two header pairs."""
    head, keys, values, names, axes, *rows = [line.split("\t") for line in path.read_text().splitlines()]
    assert head == ["PathFileType", "4", "(X/Y/Z)", path.name]
    about = dict(zip(keys, values, strict=True))
    assert names[:2] == ["Frame#", "Time"] and axes[2:5] == ["X1", "Y1", "Z1"]
    markers = names[2::3]
    assert len(markers) == int(about["NumMarkers"]) and len(rows) == int(about["NumFrames"])
    assert {len(row) for row in rows} == {2 + 3 * len(markers)} == {len(axes)}
    table = np.array([[float(cell) for cell in row] for row in rows])
    return about, markers, table[:, 0], table[:, 1], table[:, 2:].reshape(len(rows), -1, 3)


def bvh_joints(path):
    """Names of the joints of a .bvh, and where forward kinematics puts them in each frame, in its units."""
    motion = read_bvh(path)
    rows = [line.split() for line in path.read_text().split("Frame Time")[1].splitlines()[1:]]
    root = np.array(rows, dtype=float)[:, :3]
    places = np.zeros((len(rows), len(motion.names), 3))
    for joint, parent in enumerate(motion.parents):
        bone = motion.offsets[joint]
        places[:, joint] = root if parent < 0 else places[:, parent] + motion.orientations[:, parent] @ bone
    return motion.names, places
