"""Opens the files of a list, each with its reader, under a limit of memory and time; prints how each ended.

    python child.py CASES.json FIRST SANDBOX

CASES.json is a list of [reader, path]. From the FIRST on, each gives a line of JSON on standard output, before and
after: what comes after a line that says "begin" did not happen when the process dies.
"""

import contextlib
import io
import json
import os
import resource
import signal
import sys
import time
import traceback
from pathlib import Path

SECONDS = 10
MORE_BYTES = 1024**3
"""What a case may take on top of what the process has taken before: Python, its libraries, a body and a prior."""


def _commands():
    """Readers that are commands: each in the sandbox, writing into a folder of its own."""
    from bodyfit.scripts.cli import main

    def command(*words: str):
        def run(path: Path) -> str:
            out = Path(f"out{time.monotonic_ns()}")
            try:
                main([word.format(path=path, out=out) for word in words])
            except SystemExit as end:
                if end.code not in (0, 1, 2):
                    raise RuntimeError(f"exit code {end.code}") from end
                if end.code:
                    raise _Refused(f"exit code {end.code}") from end
            return "done"

        return run

    return {
        "report": command("report", "{path}", "-o", "{out}.html"),
        "render": command("render", "{path}", "-o", "{out}"),
        "side by side": command("render", "{path}", "-o", "{out}", "--style", "side-by-side"),
        "convert": command("convert", "{path}", "-o", "{out}", "--to", "json"),
        "convert meshes": command("convert", "{path}", "-o", "{out}", "--to", "obj"),
        "compare": command("compare", "{path}", "{path}"),
        "fit": command("fit", "{path}", "-o", "{out}", "--no-meshes"),
    }


class _Refused(Exception):
    """A command ended with its code for errors."""


class _TooLongError(BaseException):
    """The time is over; no reader catches this."""


def readers() -> dict:
    """Name of a reader -> function of a path. Imports all that any of them needs."""
    from bodyfit.data.body.body_model import load_body_model
    from bodyfit.data.keypoints.detections import read_keypoints
    from bodyfit.data.keypoints.inputs import find_inputs
    from bodyfit.data.motion.mocap import read_motion
    from bodyfit.data.photo.intrinsics import read_camera
    from bodyfit.data.photo.photo import photo_size, read_photo
    from bodyfit.data.results.result import FitResult
    from bodyfit.fitting.run.config_files import read_config
    from bodyfit.fitting.run.previous import PreviousResults
    from bodyfit.fitting.show.prior_viewer import read_body_poses
    from bodyfit.fitting.show.results_folder import open_results_folder
    from bodyfit.fitting.start.network import load_start_network
    from bodyfit.prior.model.checkpoint import load_prior
    from bodyfit.prior.training.dataset import load_poses
    from bodyfit.prior.training.splits import Splitter

    return {
        "keypoints": lambda path: read_keypoints(path, image_size=(640, 480)),
        "inputs": find_inputs,
        "camera": lambda path: read_camera(path).for_size((640, 480)),
        "config": read_config,
        "result": FitResult.load,
        "results folder": open_results_folder,
        "body": load_body_model,
        "prior": load_prior,
        "start network": load_start_network,
        "motion": read_motion,
        "init": PreviousResults,
        "photo": read_photo,
        "photo size": photo_size,
        "splits": lambda folder: Splitter.for_input(folder, "auto", 0.1, 0.1, 0),
        "prepared poses": lambda folder: load_poses(folder, "train"),
        "upload": lambda path: read_body_poses(path.name, path.read_bytes()),
        **_commands(),
    }


def main(cases: list, first: int, sandbox: Path) -> None:
    """Go through the cases."""
    import torch

    from bodyfit.data.errors import BodyfitError

    torch.set_num_threads(1)
    read = readers()
    os.chdir(sandbox)
    _warm_up(read, cases)
    signal.signal(signal.SIGALRM, _too_long)
    for number in range(first, len(cases)):
        reader, path = cases[number]
        print(json.dumps({"begin": number}), flush=True)
        began, words = time.monotonic(), io.StringIO()
        before = _peak_anew()
        resource.setrlimit(resource.RLIMIT_AS, (_address_space() + MORE_BYTES, resource.RLIM_INFINITY))
        signal.alarm(SECONDS)
        try:
            with contextlib.redirect_stdout(words), contextlib.redirect_stderr(words):
                read[reader](Path(path))
            ended = "read"
        except (BodyfitError, _Refused) as error:
            ended, words = "error", io.StringIO(f"{error}\n{words.getvalue()}")
        except BaseException:
            ended, words = "traceback", io.StringIO(traceback.format_exc())
        finally:
            signal.alarm(0)
        text = words.getvalue().encode("utf-8", "backslashreplace").decode()[-3000:]
        seconds, taken = time.monotonic() - began, (_peak() - before) / 1e6
        line = {"end": number, "how": ended, "words": text, "seconds": seconds, "peak_mb": taken}
        print(json.dumps(line), flush=True)


def _warm_up(read: dict, cases: list) -> None:
    """Load what is loaded at first use, so that it does not count."""
    from bodyfit.data.body.body_model import load_body_model

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        load_body_model()
        for reader, path in cases:
            if "sound" in Path(path).parts:
                with contextlib.suppress(Exception):
                    read[reader](Path(path))


def _too_long(*_: object) -> None:
    raise _TooLongError(f"more than {SECONDS} s")


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def _peak_anew() -> int:
    """Let the peak begin anew; what is taken now."""
    Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    (line,) = [s for s in Path("/proc/self/status").read_text().splitlines() if s.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()), int(sys.argv[2]), Path(sys.argv[3]))
