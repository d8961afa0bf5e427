"""Bad inputs, made on the spot: contents of files by kind, each with a name that says what is wrong with it."""

import io
import json
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Iterator

import numpy as np
import torch

MARKER = "executed"
"""What every attack that is carried out leaves in the current folder."""


# ---- JSON -----------------------------------------------------------------------------------------------------------

HUGE_NUMBER = "9" * 400
PLACEHOLDER = "@here@"
VALUES = {
    "null": "null",
    "true": "true",
    "text": '"text"',
    "empty text": '""',
    "half a surrogate": r'"\ud800"',
    "NUL": r'"a\u0000b"',
    "long text": '"' + "x" * 100_000 + '"',
    "climbing": '"../../../../etc/passwd"',
    "absolute": '"/etc/passwd"',
    "script": '"<script>alert(1)</script>"',
    "list": "[]",
    "list of lists": "[[[[]]]]",
    "ragged": "[[1, 2], [3], []]",
    "object": "{}",
    "object of object": '{"a": {"b": {}}}',
    "zero": "0",
    "negative": "-1",
    "1e308": "1e308",
    "1e999": "1e999",
    "NaN": "NaN",
    "Infinity": "-Infinity",
    "400 digits": HUGE_NUMBER,
    "5000 digits": "9" * 5000,
    "2**63": str(2**63),
    "mixed": '[1, "a", null, {}]',
    "many": "[" + "1e308, " * 300 + "NaN]",
}


def whole_json() -> dict[str, bytes]:
    """Documents that are none, or none of ours."""
    deep = 100_000
    return {
        "empty": b"",
        "spaces": b" \n\t",
        "zeros": bytes(1000),
        "text": b"hello",
        "cut off": b'{"people": [{"pose_key',
        "two documents": b"{} {}",
        "null": b"null",
        "true": b"true",
        "number": b"1e308",
        "digits": b"9" * 5000,
        "string": b'"people"',
        "empty list": b"[]",
        "empty object": b"{}",
        "list of numbers": b"[1, 2, 3]",
        "list of nulls": b"[null, null]",
        "deep lists": b"[" * deep + b"]" * deep,
        "deep lists cut off": b"[" * deep,
        "deep objects": b'{"people":' * deep + b"1" + b"}" * deep,
        "deep and hidden": b'{"people": ["' + b"]" * 5000 + b'", ' + b"[" * 900 + b"]" * 900 + b"]}",
        "just too deep": b'{"people": ' + b"[" * 500 + b"]" * 500 + b"}",
        "UTF-16 of nothing": "ü".encode("utf-16"),
        "UTF-16 cut off": '{"people": []}'.encode("utf-16")[:-1],
        "not UTF-8": b'{"people": "\xff\xfe\xfa"}',
        "surrogate in UTF-8": b'{"people": "\xed\xa0\x80"}',
        "UTF-7": b"+AHsAIg-people",
        "million empty lists": b"[" + b"[]," * 1_000_000 + b"[]]",
        "million empty objects": b"[" + b"{}," * 1_000_000 + b"{}]",
        "gzip": zlib.compress(b'{"people": []}'),
        "pickle": pickle.dumps({"people": []}),
        "PNG": b"\x89PNG\r\n\x1a\n" + bytes(100),
        "NaN keys": b'{"NaN": NaN, "people": NaN}',
        "same key often": b"{" + b'"people": [], ' * 100_000 + b'"people": 1}',
        "many keys": ("{" + ", ".join(f'"{n}": {n}' for n in range(100_000)) + "}").encode(),
    }


def changed_json(document: dict | list) -> Iterator[tuple[str, bytes]]:
    """A sound document with one value at a time replaced by each of `VALUES`; of long lists only the first."""
    for number, place in enumerate(_places(document)):
        template = json.dumps(_with(document, place))
        for name, value in VALUES.items():
            if (number + len(name)) % 2 == 0 or number < 4:  # half of them: they are many
                words = ".".join(map(str, place)) or "all"
                yield f"{words} {name}", template.replace(f'"{PLACEHOLDER}"', value).encode("utf-8", "surrogatepass")


def _places(value: dict | list, place: tuple = ()) -> Iterator[tuple]:
    children = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for key, child in children:
        yield (*place, key)
        yield from _places(child, (*place, key))


def _with(value: dict | list, place: tuple) -> dict | list | str:
    if not place:
        return PLACEHOLDER
    if isinstance(value, dict):
        return {key: _with(child, place[1:]) if key == place[0] else child for key, child in value.items()}
    return [_with(child, place[1:]) if key == place[0] else child for key, child in enumerate(value)]


# ---- arrays ---------------------------------------------------------------------------------------------------------


def npy(header: str | bytes, data: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    """An .npy of a header as it stands."""
    text = header.encode() if isinstance(header, str) else header
    length = struct.pack("<H" if version[0] == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + length + text + data


def npz(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of members, as numpy writes them or otherwise."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def _saved(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def broken_arrays(names: tuple[str, ...]) -> dict[str, bytes]:
    """.npz files whose arrays of these names are none."""

    def every(content: bytes, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
        return npz({f"{name}.npy": content for name in names}, compression)

    def header(shape: str, descr: str = "'<f8'", data: bytes = b"", order: str = "False") -> bytes:
        return every(npy(f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}}}\n", data))

    whole = every(_saved(np.zeros((4, 3))))
    bomb = npy("{'descr': '<f8', 'fortran_order': False, 'shape': (200000000,)}\n", bytes(40_000_000))
    return {
        "empty": b"",
        "no zip": b"PK no zip",
        "cut off": whole[: len(whole) // 2],
        "without end": whole[:-30],
        "no arrays": npz({}),
        "other names": npz({"a.npy": _saved(np.zeros(3))}),
        "climbing names": npz({"../../a.npy": _saved(np.zeros(3)), "/etc/b.npy": _saved(np.zeros(3))}),
        "objects": every(_saved(np.array([{}], dtype=object))),
        "a call": every(_saved(np.array([_Calls(os.system, f"touch {MARKER}")], dtype=object))),
        "text": every(_saved(np.array("text"))),
        "texts": every(_saved(np.array([["a"] * 63]))),
        "no dimensions": every(_saved(np.array(1.0))),
        "empty arrays": every(_saved(np.zeros((0, 3)))),
        "many dimensions": every(_saved(np.zeros((1,) * 20))),
        "complex": every(_saved(np.zeros((4, 66), complex))),
        "NaN": every(_saved(np.full((4, 66), np.nan))),
        "1e308": every(_saved(np.full((4, 66), 1e308))),
        "records": every(_saved(np.zeros(3, dtype=[("a", "f8"), ("b", "i4")]))),
        "dates": every(_saved(np.zeros(3, dtype="M8[s]"))),
        "no magic": every(b"not numpy at all"),
        "only magic": every(b"\x93NUMPY"),
        "version 9": every(npy("{}", version=(9, 0))),
        "header of 4 GB": every(b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(1000)),
        "header deep": every(npy("(" * 9000)),
        "header calls": every(npy(f"__import__('os').system('touch {MARKER}')")),
        "header no dictionary": every(npy("[1, 2]")),
        "header without shape": every(npy("{'descr': '<f8', 'fortran_order': False}")),
        "header not text": every(npy(b"\xff" * 100)),
        "negative shape": header("(-1,)", data=bytes(8)),
        "shape of text": header("('a',)"),
        "shape of 10**30": header(f"({10**30},)"),
        "shape of a TB": header(f"({10**11}, 3)", data=bytes(24)),
        "shape of 400 MB": header("(50000000,)", data=bytes(24)),
        "no bytes each": header(f"({10**12},)", "'<U0'"),
        "type of a number": header("(1,)", "5", bytes(8)),
        "type of nothing": header("(1,)", "''", bytes(8)),
        "type unknown": header("(1,)", "'<q99'", bytes(8)),
        "type void": header("(1,)", "'|V999999999'", bytes(8)),
        "bomb": npz({f"{names[0]}.npy": bomb}),
        "LZMA": every(_saved(np.zeros(3)), zipfile.ZIP_LZMA),
        "BZIP2": every(_saved(np.zeros(3)), zipfile.ZIP_BZIP2),
        "LZMA broken": _broken_stream(every(_saved(np.zeros(300)), zipfile.ZIP_LZMA)),
        "stream broken": _broken_stream(every(_saved(np.random.default_rng(0).random(300)))),
    }  # fmt: skip


def _broken_stream(content: bytes) -> bytes:
    return content[:60] + bytes(byte ^ 0x5A for byte in content[60:110]) + content[110:]


# ---- pickles and checkpoints ----------------------------------------------------------------------------------------


class _Calls:
    """Pickles as a call of a function."""

    def __init__(self, function: object, *arguments: object):
        self.call = (function, arguments)

    def __reduce__(self) -> tuple:
        return self.call


def _named(module: str, name: str, *arguments: str) -> bytes:
    """A pickle that calls a function by its name, whether there is such a module here or not."""
    words = b"".join(b"X" + struct.pack("<I", len(a)) + a.encode() for a in arguments)
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + b"(" + words + b"tR."


def pickles() -> dict[str, bytes]:
    """Pickles that run something, take all memory, hang or crash the interpreter that reads them."""
    touch = f"touch {MARKER}"
    calls = {
        "os.system": ("os", "system", touch),
        "posix.system": ("posix", "system", touch),
        "subprocess": ("subprocess", "getoutput", touch),
        "eval": ("builtins", "eval", f"__import__('os').system('{touch}')"),
        "exec": ("builtins", "exec", f"__import__('os').system('{touch}')"),
        "numpy": ("numpy.testing._private.utils", "runstring", f"import os; os.system('{touch}')", ""),
        "numpy loads": ("numpy", "load", "/etc/passwd"),
        "numpy f2py": ("numpy.f2py.crackfortran", "myeval", f"__import__('os').system('{touch}')"),
        "numpy dotted": ("numpy", "core.multiarray.os.system", touch),
        "torch": ("torch.utils.cpp_extension", "load", "x", "/etc/passwd"),
        "torch hub": ("torch.hub", "load", "evil/evil", "x"),
        "torch load": ("torch", "load", "/etc/passwd"),
        "torch unsafe": ("torch._inductor.codecache", "compile_file", touch),
        "scipy": ("scipy._lib._uarray", "system", touch),
        "scipy dotted": ("scipy.sparse", "csc.os.system", touch),
        "functools": ("functools", "partial", touch),
        "functools reduce": ("functools", "reduce", touch),
        "operator": ("operator", "methodcaller", "system"),
        "getattr": ("builtins", "getattr", "os", "system"),
        "import": ("builtins", "__import__", "os"),
        "chumpy": ("chumpy.utils", "timer", touch),
        "pickle": ("pickle", "loads", "cos\nsystem\n"),
        "codecs": ("_codecs", "decode", touch, "zip"),
        "open": ("io", "open", MARKER, "w"),
        "pathlib": ("pathlib", "Path", "/etc/passwd"),
        "with a line": ("os\nsystem", "x", touch),
    }
    number, many = struct.pack("<i", 2**31 - 1), (24 * 10**9).to_bytes(5, "little")
    shared = pickle.dumps({f"k{n}": np.zeros(9) for n in range(5)})
    return {
        **{f"calls {name}": _named(*call) for name, call in calls.items()},
        "calls in a dictionary": pickle.dumps({"v_template": _Calls(os.system, touch), "state_dict": {}}),
        "calls by a key": pickle.dumps({_Hashable(os.system, touch): 1}),
        "calls by INST": f"(S'{touch}'\nios\nsystem\n.".encode(),
        "calls by OBJ": b"(cos\nsystem\nX" + struct.pack("<I", len(touch)) + touch.encode() + b"o.",
        "calls by BUILD": b"\x80\x02cbuiltins\nobject\n)R}U\x0c__setstate__cos\nsystem\nsbU\x01ab.",
        "bytes of a number": b"\x80\x02cbuiltins\nbytes\nJ" + number + b"\x85R.",
        "bytearray of 24 GB": b"\x80\x02cbuiltins\nbytearray\n\x8a\x05" + many + b"\x85R.",
        "zeros of 24 GB": b"\x80\x02cnumpy\nzeros\n\x8a\x05" + many + b"\x85R.",
        "a list of a range": b"\x80\x02cbuiltins\nlist\ncbuiltins\nrange\nJ" + number + b"\x85R\x85R.",
        "a text times a number": b"\x80\x02coperator\nmul\nX\x01\x00\x00\x00aJ" + number + b"\x86R.",
        "a key of tuples": b"\x80\x02})" + b"2\x86" * 60 + b"K\x00s.",
        "a deep key": b"\x80\x02})" + b"\x85" * 100_000 + b"K\x00s.",
        "a deep key of frozensets": b"\x80\x04}(" + b"(" * 5000 + b"\x91" * 5000 + b"K\x00u.",
        "a set of tuples": b"\x80\x04\x8f()" + b"2\x86" * 60 + b"\x90.",
        "deep lists": b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b".",
        "deep calls": b"\x80\x02cbuiltins\nlist\n" + b")R" * 50_000 + b".",
        "itself": b"\x80\x02}q\x00X\x0a\x00\x00\x00v_templateh\x00s.",
        "a million dictionaries": b"\x80\x02" + b"}" * 10**6 + b".",
        "millions on the stack": b"\x80\x02" + b"N2" * 3_000_000 + b".",
        "numbers that collide": _colliding(30_000),
        "a long number": b"\x80\x02\x8b" + struct.pack("<i", 10**6) + b"\x7f" * 10**6 + b".",
        "many digits": b"I" + b"9" * 10_000 + b"\n.",
        "announces 2 GB": b"\x80\x02B" + number + b"x.",
        "announces 8 EB": b"\x80\x05\x8e" + b"\xff" * 7 + b"\x7f.",
        "frame of 8 EB": b"\x80\x04\x95" + b"\xff" * 7 + b"\x7f}.",
        "place 2**31": b"\x80\x02}r\xff\xff\xff\x7f.",
        "extension": b"\x80\x02\x82\x01.",
        "buffer": b"\x80\x05\x97.",
        "unknown opcode": b"\x80\x02\xfe.",
        "protocol 99": b"\x80\x63}.",
        "no stop": b"\x80\x02}",
        "only stop": b".",
        "no mark": b"\x80\x02u.",
        "empty": b"",
        "zeros": bytes(100),
        "text": b"hello",
        "a list": pickle.dumps([1, 2]),
        "a number": pickle.dumps(5),
        "cut off": shared[: len(shared) // 2],
        "of another kind": shared,
    }  # fmt: skip


class _Hashable(_Calls):
    def __hash__(self) -> int:
        return 1


def _colliding(count: int) -> bytes:
    numbers = [pickle.dumps(k * (2**61 - 1), 2)[2:-1] + b"K\x00" for k in range(1, count)]
    return b"\x80\x02}(" + b"".join(numbers) + b"u."


def checkpoints() -> dict[str, bytes]:
    """PyTorch files: what is not ours, and tensors that are larger than their file."""

    def saved(content: object, **options: object) -> bytes:
        file = io.BytesIO()
        torch.save(content, file, **options)
        return file.getvalue()

    def with_pickle(content: bytes) -> bytes:
        return npz({"archive/data.pkl": content, "archive/version": b"3\n"}, zipfile.ZIP_STORED)

    weight = "decoder_net.0.weight"
    whole = saved({weight: torch.zeros(8, 4)})
    legacy = saved({weight: torch.zeros(8, 4)}, _use_new_zipfile_serialization=False)
    numbers = bytearray(legacy)
    numbers[-136:-128] = (2**60).to_bytes(8, "little")
    return {
        **{f"archive of {name}": with_pickle(content) for name, content in pickles().items() if len(content) < 200_000},
        "expanded": saved({weight: torch.zeros(1).expand(16384, 16384)}),
        "expanded, old": saved({weight: torch.zeros(1).expand(9000, 9000)}, _use_new_zipfile_serialization=False),
        "sparse": saved({weight: torch.sparse_coo_tensor(torch.zeros(2, 1).long(), torch.ones(1), (30_000, 30_000))}),
        "on another device": saved({weight: torch.zeros(4, 4, device="meta")}),
        "quantised": saved({weight: torch.zeros(3, dtype=torch.complex64)}),
        "other keys": saved({"a": torch.zeros(3)}),
        "one weight": whole,
        "one weight, old": legacy,
        "cut off": whole[:-200],
        "cut off, old": legacy[:-20],
        "count of 2**60": bytes(numbers),
        "widths of a million": saved({weight: torch.zeros(0, 10**6)}),
        "no dimensions": saved({weight: torch.tensor(1.0)}),
        "state dict of a number": saved({"state_dict": 5}),
        "compressed": npz({"archive/data.pkl": b"\x80\x02}."}),
        "two pickles": npz({"a/data.pkl": b"\x80\x02}.", "b/data.pkl": b"\x80\x02}."}, zipfile.ZIP_STORED),
        "a whole module": saved(torch.nn.Linear(2, 2)),
    }


# ---- pictures -------------------------------------------------------------------------------------------------------


def _png(width: int, height: int, data: bytes, *extra: tuple[bytes, bytes]) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + name + content + zlib.crc32(name + content).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    middle = b"".join(chunk(*one) for one in extra)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + middle + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def pictures() -> dict[str, bytes]:
    """Files named .jpg that are no photos, or unfold to far more than they are."""
    from PIL import Image

    def saved(form: str, size: tuple[int, int] = (40, 30), **options: object) -> bytes:
        file = io.BytesIO()
        Image.new("RGB", size, (200, 100, 50)).save(file, form, **options)
        return file.getvalue()

    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 30\n(%pipe%touch " + MARKER.encode() + b") (w) file\n%%EOF\n"
    zeros = zlib.compress(bytes(20_000_000), 9)
    text = b"Comment\0\0" + zlib.compress(bytes(200_000_000), 9)
    jpeg, exif = saved("JPEG"), Image.Exif()
    exif[0x0112] = 6
    oriented = saved("JPEG", exif=exif)
    return {
        "empty": b"",
        "text": b"not a photo",
        "zeros": bytes(5000),
        "EPS": eps,
        "EPS of Pillow": saved("EPS"),
        "PDF": b"%PDF-1.4\n1 0 obj\n",
        "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        **{form: saved(form) for form in ("GIF", "PPM", "TGA", "PCX", "ICO", "SGI", "DDS", "IM", "SPIDER")},
        "PNG of 11 000 squared": _png(11_000, 11_000, zeros),
        "PNG of 30 000 squared": _png(30_000, 30_000, zeros),
        "PNG of 2**31 squared": _png(2**31 - 1, 2**31 - 1, zeros),
        "PNG of no width": _png(0, 100, zeros),
        "PNG with a comment of 200 MB": _png(4, 4, zlib.compress(bytes(52)), (b"zTXt", text)),
        "PNG with too little": _png(500, 500, zlib.compress(bytes(10))),
        "PNG with a broken stream": _png(40, 30, b"\x78\x9c" + b"\xff" * 300),
        "JPEG cut off": jpeg[: len(jpeg) // 2],
        "JPEG of its header": jpeg[:30],
        "JPEG of 65 500 squared": jpeg.replace(struct.pack(">HH", 30, 40), struct.pack(">HH", 65500, 65500)),
        "JPEG with broken EXIF": oriented.replace(b"Exif\0\0", b"Exif\0\0\xff\xff\xff\xff", 1),
        "BMP of 2**30": saved("BMP").replace(struct.pack("<ii", 40, 30), struct.pack("<ii", 2**30, 2**30)),
        "TIFF of directories in a circle": b"II*\0\x08\0\0\0" + b"\x01\0" + bytes(12) + b"\x08\0\0\0",
        "TIFF cut off": saved("TIFF")[:60],
        "WebP cut off": saved("WEBP")[:30],
    }


# ---- motion ---------------------------------------------------------------------------------------------------------

BVH = """HIERARCHY
ROOT Hips
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  End Site
  {
    OFFSET 0 1 0
  }
}
MOTION
Frames: 2
Frame Time: 0.01
0 0 0 10 20 30
0 0 0 11 21 31
"""


def bvh_files() -> dict[str, bytes]:
    """BVH files of everything but motion."""
    changes = {
        "4 rotations": ("Xposition Yposition Zposition Zrotation", "Xrotation Yrotation Zrotation Xrotation"),
        "order XXZ": ("Zrotation Xrotation Yrotation", "Xrotation Xrotation Zrotation"),
        "9e8 frames": ("Frames: 2", "Frames: 900000000"),
        "1e18 frames": ("Frames: 2", f"Frames: {10**18}"),
        "400 digits of frames": ("Frames: 2", f"Frames: {HUGE_NUMBER}"),
        "5000 digits of frames": ("Frames: 2", "Frames: " + "9" * 5000),
        "frames of text": ("Frames: 2", "Frames: two"),
        "no frames": ("Frames: 2", "Frames: 0"),
        "frame time 0": ("0.01", "0"),
        "frame time NaN": ("0.01", "nan"),
        "frame time 1e-308": ("0.01", "1e-308"),
        "a NaN": ("11 21 31", "11 nan 31"),
        "a 1e308": ("11 21 31", "11 1e308 31"),
        "a word": ("11 21 31", "11 x 31"),
        "a number short": ("11 21 31", "11 21"),
        "a number more": ("11 21 31", "11 21 31 41"),
        "no numbers": ("0 0 0 10 20 30\n0 0 0 11 21 31\n", ""),
        "channels of 4e9": ("CHANNELS 6", "CHANNELS 4000000000"),
        "channels of -1": ("CHANNELS 6", "CHANNELS -1"),
        "unknown channel": ("Xposition", "Wposition"),
        "offset NaN": ("OFFSET 0 1 0", "OFFSET 0 nan 0"),
        "offset 1e308": ("OFFSET 0 1 0", "OFFSET 0 1e308 0"),
        "offset short": ("OFFSET 0 1 0", "OFFSET 0 1"),
        "no ROOT": ("ROOT Hips", ""),
        "braces": ("}\n}", "}"),
        "more braces": ("MOTION", "} } } MOTION"),
        "deep joints": ("End Site\n  {", "JOINT a {\n" * 5000),
        "many joints": ("End Site\n  {\n    OFFSET 0 1 0\n  }", "JOINT a { OFFSET 0 1 0 }\n" * 5000),
        "long name": ("Hips", "H" * 1_000_000),
        "no HIERARCHY": ("HIERARCHY", ""),
        "no MOTION": ("MOTION", ""),
        "not a person": ("ROOT Hips", "ROOT Cube"),
    }
    return {
        "empty": b"",
        "zeros": bytes(1000),
        "UTF-16": BVH.encode("utf-16"),
        **{name: BVH.replace(old, new).encode() for name, (old, new) in changes.items()},
    }
