"""What glibc keeps of freed memory, in processes of their own: one heap for all threads, freed pages given back."""

import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="settings of glibc")

_HEAPS = """
import ctypes, sys, threading
from bodyfit.fitting.run.memory import share_memory_among_threads
if sys.argv[2] == "shared":
    share_memory_among_threads()
together = threading.Barrier(6)
def work():
    kept = [bytes(10_000) for _ in range(100)]
    together.wait()
threads = [threading.Thread(target=work) for _ in range(6)]
[t.start() for t in threads], [t.join() for t in threads]
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
libc.malloc_info(0, file), libc.fclose(file)
print(open(sys.argv[1]).read().count("<heap nr"))
"""

_PAGES = """
from bodyfit.fitting.run.memory import give_back_freed_memory
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6
blocks = [bytes(50_000) for _ in range(4000)]
blocks = blocks[::10]  # what is kept lies between what is freed
before = resident()
give_back_freed_memory()
print(before - resident())
"""


def _printed(code: str, *arguments: str) -> float:
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return float(done.stdout)


def test_all_threads_share_one_heap(tmp_path):
    assert _printed(_HEAPS, str(tmp_path / "info"), "shared") == 1
    assert _printed(_HEAPS, str(tmp_path / "info"), "usual") > 1


def test_freed_pages_go_back_to_the_system():
    assert _printed(_PAGES) > 100
