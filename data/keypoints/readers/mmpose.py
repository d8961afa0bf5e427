"""MMPose and Sapiens: {"meta_info": {...}, "instance_info": [...]}, frames or people, points named in meta_info.

Also what MMPoseInferencer writes, a list of people, or of lists of people, one for each image.
"""

from collections.abc import Mapping
from typing import Any

from bodyfit.data.keypoints import formats as kf
from bodyfit.data.keypoints.people import ONLY_IMAGE, ImagePeople, KeypointError
from bodyfit.data.keypoints.readers import predictions
from bodyfit.data.keypoints.readers.common import Source

_DATASETS = {
    "h36m": kf.H36M_17,
    "posetrack18": kf.POSETRACK_17,
    "mpii": kf.MPII_16,
    "aic": kf.AIC_14,
    "crowdpose": kf.CROWDPOSE_14,
}


def read(content: Mapping[str, Any], source: Source) -> dict[str, ImagePeople]:
    """Frames by their number, or the people of the one image."""
    names = _names(content.get("meta_info"), source)
    entries = source.objects(content["instance_info"], "instance_info")
    if not any("instances" in entry for entry in entries):
        return _people(entries, source, names)
    frames = {}
    for number, entry in enumerate(entries):
        instances = source.objects(entry.get("instances"), "instances")
        (frames[str(entry.get("frame_id", number))],) = _people(instances, source, names).values()
    return {ONLY_IMAGE: next(iter(frames.values()))} if len(frames) == 1 else frames


def read_lists(content: list[list[Mapping[str, Any]]], source: Source) -> dict[str, ImagePeople]:
    """A list of people for each image."""
    frames = {}
    for number, people in enumerate(content):
        (frames[str(number)],) = _people(source.objects(people, "predictions"), source, None).values()
    return {ONLY_IMAGE: next(iter(frames.values()))} if len(frames) == 1 else frames


def _people(instances: list[Mapping[str, Any]], source: Source, names: Any) -> dict[str, ImagePeople]:
    people = [{"keypoints": (), **item} for item in instances]
    found = predictions.read(people, source, names)
    if len(found) > 1:
        return found
    return {ONLY_IMAGE: next(iter(found.values()))}


def _names(meta: Any, source: Source) -> list[str] | None:
    """Names of the points in order, from meta_info or from the data set that it names; None where neither says so."""
    if not isinstance(meta, Mapping):
        return None
    by_id, by_name = meta.get("keypoint_id2name"), meta.get("keypoint_name2id")
    if isinstance(by_id, Mapping) and by_id:
        return [str(by_id[key]) for key in sorted(by_id, key=_number)]
    if isinstance(by_name, Mapping) and by_name:
        return sorted(by_name, key=lambda name: _number(by_name[name]))
    listed = meta.get("keypoint_names", meta.get("keypoints"))
    if isinstance(listed, list) and listed and all(isinstance(name, str) for name in listed):
        return listed
    info = meta.get("keypoint_info")
    if isinstance(info, Mapping) and all(isinstance(item, Mapping) and "name" in item for item in info.values()):
        return [str(info[key]["name"]) for key in sorted(info, key=_number)]
    table = _DATASETS.get(str(meta.get("dataset_name", "")).lower())
    return list(table.points) if table else None


def _number(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError) as cause:
        raise KeypointError(f"the number of a keypoint in 'meta_info' is {value!r}.") from cause
