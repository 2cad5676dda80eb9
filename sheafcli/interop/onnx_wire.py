"""How many parts an ONNX file has, told from its bytes before the library makes objects of them.

In the format of Protocol Buffers, a field is a key (its number times 8, plus its wire type) and its content;
a message of two bytes can become an object of a hundred. Reference: protobuf.dev, "Encoding".
"""

from __future__ import annotations

MAX_PARTS = 2**20
"""The most parts of a file that is read; a network of ten thousand layers has a quarter of them."""

PARTS = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 11: "value", 12: "value", 13: "value", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {
        **{5: "tensor", 10: "tensor", 22: "sparse", 23: "sparse"},
        **{6: "graph", 11: "graph", 14: "type", 15: "type"},
    },
    "function": {7: "node", 11: "attribute", 12: "value"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
    "value": {2: "type"},
    "type": {1: "array", 4: "element", 5: "element", 8: "array", 9: "element"},
    "element": {1: "type", 2: "type"},
    "array": {2: "shape"},
    "shape": {},
}
"""The messages of ONNX, each with its fields that are messages of more than a few parts themselves."""


def check_parts(content: bytes) -> None:
    """Raise ValueError if a file has so many parts that their objects would fill the memory.

    What is no protobuf is passed by: the library says so when it comes there.
    """
    parts = 0
    pending = [("model", 0, len(content))]
    while pending:
        message, at, end = pending.pop()
        inner = PARTS[message]
        while at < end:
            parts += 1
            if parts > MAX_PARTS:
                raise ValueError(
                    f"the file has more than {MAX_PARTS:,} parts (nodes, attributes, sizes, ...), "
                    "and networks have far fewer; it is damaged"
                )
            key, at = _number(content, at)
            match key & 7:
                case 0:
                    _, at = _number(content, at)
                case 1:
                    at += 8
                case 5:
                    at += 4
                case 2:
                    length, at = _number(content, at)
                    if key >> 3 in inner:
                        pending.append((inner[key >> 3], at, min(at + length, end)))
                    at += length
                case _:
                    break


def _number(content: bytes, at: int) -> tuple[int, int]:
    """Return the number that stands at a place, seven bits a byte from the lowest, and where it ends."""
    number, shift = 0, 0
    for byte in content[at : at + 10]:
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            break
        shift += 7
    return number, at
