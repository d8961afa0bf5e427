"""The `bodyfit` command: finds the file of a command, runs it, and prints errors of the user as one line."""

from __future__ import annotations

import atexit
import difflib
import importlib
import importlib.metadata
import inspect
import logging
import os
import re
import sys
from collections.abc import Sequence

from bodyfit.data.errors import BodyfitError

# Threads that wait for each other should sleep, not spin: on a busy machine spinning made fits ten times slower. OpenMP
# reads this when PyTorch is loaded, which is after this file.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# NumPy's products are small here: threads of its own would only spin beside those that solve (a tenth of a run's CPU
# time). NumPy is loaded after this file, too.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""
_interrupted: list[bool] = []

# name -> (module, class, one line for the overview); imported only when asked for, so that `--help` is quick.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "fit": ("fit", "FitCommand", "fit bodies to the people in photos"),
    "detect": ("detect", "DetectCommand", "keypoints of the people in photos, as OpenPose files"),
    "view": ("view", "ViewCommand", "look at results, or at the prior, in the browser"),
    "report": ("report", "ReportCommand", "one self-contained HTML page of a run's results"),
    "render": ("render", "RenderCommand", "overlays, side views and turntables of results"),
    "convert": ("convert", "ConvertCommand", "results to other formats: pkl, json, AMASS, .bvh, tables, meshes, rigs"),
    "measure": ("measure", "MeasureCommand", "stature, girths, volume and mass of fitted bodies"),
    "summary": ("summary", "SummaryCommand", "what came of a run: failures by reason, errors, worst cases; tables"),
    "compare": ("compare", "CompareCommand", "how far the bodies of several runs or cameras differ"),
    "info": ("info", "InfoCommand", "what this installation has and can do"),
    "benchmark": ("benchmark", "BenchmarkCommand", "accuracy and speed on synthetic people with known truth"),
    "benchmark-uncertainty": (
        "benchmark_uncertainty",
        "BenchmarkUncertaintyCommand",
        "whether fits know how sure they are, on synthetic people",
    ),
    "benchmark-collisions": (
        "benchmark_collisions",
        "BenchmarkCollisionsCommand",
        "how deep bodies are inside themselves, with and without the collision term (extra bench)",
    ),
    "benchmark-folder": (
        "benchmark_folder",
        "BenchmarkFolderCommand",
        "rates, memory, start-up of runs over folders",
    ),
    "benchmark-views": (
        "benchmark_views",
        "BenchmarkViewsCommand",
        "reprojection into calibrated cameras, also left-out ones, beside triangulation",
    ),
    "prior prepare": ("prior_prepare", "PriorPrepare", "motion capture to training data"),
    "prior train": ("prior_train", "PriorTrain", "train a pose prior"),
    "prior evaluate": ("prior_evaluate", "PriorEvaluate", "evaluate a pose prior"),
    "prior sample": ("prior_sample", "PriorSample", "pictures and files of sampled, interpolated, completed poses"),
    "prior cross-validate": (
        "prior_cross_validate",
        "PriorCrossValidate",
        "train without each source of motion in turn, and judge on it",
    ),
    "prior train-start": ("prior_train_start", "PriorTrainStart", "train the network that proposes the starts of fits"),
}


RESUMING = ("fit", "detect", "prior prepare", "prior train")
"""Commands that leave out what is done already when they are given again."""


def overview() -> str:
    """What `bodyfit --help` prints."""
    width = max(map(len, COMMANDS))
    lines = [f"  bodyfit {name:<{width}}  {line}" for name, (_, _, line) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: bodyfit COMMAND ...",
            "",
            "3D human bodies (SMPL-X) from photos and 2D keypoints.",
            "",
            *lines,
            "",
            "`bodyfit COMMAND --help` lists the options of a command, with units and defaults.",
        ]
    )


def find_command(arguments: Sequence[str]) -> tuple[str, list[str]] | None:
    """The command's name and the rest of the arguments; None where there is no such command."""
    for words in (2, 1):
        name = " ".join(arguments[:words])
        if name in COMMANDS:
            return name, list(arguments[words:])
    return None


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point; exits with 0 only if the command succeeded."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help", "help") or arguments in (["prior"], ["prior", "--help"]):
        print(overview())
        sys.exit(0 if arguments else 2)
    if arguments == ["--version"]:
        print(f"bodyfit {importlib.metadata.version('bodyfit')}")
        sys.exit(0)
    found = find_command(arguments)
    if found is None:
        print(f"bodyfit: error: {_no_such_command(arguments)}", file=sys.stderr)
        sys.exit(2)
    name, rest = found
    if any(argument == "" or (argument.startswith("--") and argument.endswith("=")) for argument in rest):
        print("bodyfit: error: an argument is empty. Was a variable of the shell not set?", file=sys.stderr)
        sys.exit(2)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="bodyfit: %(message)s")
    logging.getLogger("bodyfit").setLevel(logging.INFO)
    module, class_name, line = COMMANDS[name]
    atexit.register(_end_interrupted)  # before anybody else's, so that it is called last
    import tyro  # here, so that processes that start from this file do not load it

    _let_help_wrap()
    try:
        command_class = getattr(importlib.import_module(f"bodyfit.scripts.{module}"), class_name)
        # Some flags of some commands determine the defaults of the others.
        with_config = getattr(command_class, "with_config_of", None)
        command = tyro.cli(
            command_class,
            args=rest,
            **({} if with_config is None else {"default": with_config(rest)}),
            prog=f"bodyfit {name}",
            description=inspect.cleandoc(command_class.__doc__ or line),
        )
        sys.exit(command.run())
    except BodyfitError as error:
        print(f"bodyfit: error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        more = "; the same command goes on where it was" if name in RESUMING else ""
        print(f"bodyfit: stopped{more}", file=sys.stderr)
        _interrupted.append(True)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # who read our output has seen enough: bodyfit fit --help | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


def _no_such_command(arguments: Sequence[str]) -> str:
    """What to say of words that name no command, with what was probably meant."""
    words = " ".join(arguments[: 2 if arguments[0] == "prior" else 1])
    similar = difflib.get_close_matches(words, COMMANDS, 1)
    meant = ""
    if os.path.exists(arguments[0]):
        meant = f" For photos, say: bodyfit fit {arguments[0]} -o OUT."
    elif similar:
        meant = f" Did you mean 'bodyfit {similar[0]}'?"
    return f"there is no command '{words}'.{meant} `bodyfit --help` lists all commands."


def _let_help_wrap() -> None:
    """Help texts are wrapped at the width of the terminal alone: tyro also breaks them where the source does."""
    from tyro import _strings

    if hasattr(_strings, "remove_single_line_breaks"):
        _strings.remove_single_line_breaks = lambda text: "\n\n".join(
            " ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", text)
        )


def _end_interrupted() -> None:
    """Python kills itself by SIGINT at its end where Ctrl-C came while it ran code from a string, as imports do, even
    if that was handled: then the exit status would depend on the moment."""
    if _interrupted:
        sys.stderr.flush()
        os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
