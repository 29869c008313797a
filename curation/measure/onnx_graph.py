"""Networks whose weights lie inside packages, written as ONNX models and run by onnxruntime on one thread.

A model is a message of protocol buffers (onnx.proto3 of ONNX 1.12 numbers the fields used here); writing it takes no
more than this, so the package onnx is not needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

_IR_VERSION = 8
_OPSET = 13
"""Of ONNX 1.8: every onnxruntime from 1.7 on runs it."""

_INT, _STRING, _INTS = 2, 3, 7
"""AttributeProto.AttributeType."""

ELEMENT_TYPES = {np.dtype(np.float32): 1, np.dtype(np.uint8): 2, np.dtype(np.int64): 7}
"""TensorProto.DataType."""


_Shape = tuple[int | str, ...]


class Graph:
    """A network while it is written: tensors are known by their names."""

    def __init__(self) -> None:
        self._nodes: list[bytes] = []
        self._constants: list[bytes] = []

    def constant(self, values: npt.NDArray[Any]) -> str:
        """Add a tensor of one of ``ELEMENT_TYPES``; return its name."""
        name = f"w{len(self._constants)}"
        dims = [(1, size) for size in values.shape]
        kind = ELEMENT_TYPES[values.dtype]
        self._constants.append(_message(*dims, (2, kind), (8, name), (9, np.ascontiguousarray(values).tobytes())))
        return name

    def node(self, kind: str, *inputs: str, name: str = "", **attributes: int | str | list[int]) -> str:
        """Add an operator of ONNX; return the name of its one result."""
        made = name or f"n{len(self._nodes)}"
        given = [(5, _attribute(key, value)) for key, value in attributes.items()]
        self._nodes.append(_message(*((1, name) for name in inputs), (2, made), (4, kind), *given))
        return made

    def convolution(
        self, given: str, weights: npt.NDArray[np.float32], bias: npt.NDArray[np.float32], **attributes: Any
    ) -> str:
        """Add a convolution by (out, in, side, side) weights; return the name of its result."""
        side = weights.shape[2]
        constants = self.constant(weights), self.constant(bias)
        return self.node("Conv", given, *constants, kernel_shape=[side, side], **attributes)

    def model(self, element: npt.DTypeLike, shape: _Shape, outputs: Mapping[str, _Shape]) -> bytes:
        """Return the serialised model.

        Args:
            element: of the one input, which is named input
            shape: of it; a name stands for a size that may be any
            outputs: shapes of the results, float32, by name

        """
        ends = [(11, _value("input", element, shape))]
        ends += [(12, _value(name, np.float32, size)) for name, size in outputs.items()]
        graph: list[_Field] = [(1, node) for node in self._nodes]
        graph += [(2, "graph"), *((5, tensor) for tensor in self._constants)]
        return _message((1, _IR_VERSION), (7, _message(*graph, *ends)), (8, _message((2, _OPSET))))


def session(model: bytes | str) -> Any:
    """Return an onnxruntime session of a serialised model or a file, on one thread of the processor.

    Raises:
        ImportError: onnxruntime is not installed.
        Exception: whatever it raises for what is no model.

    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


_Field = tuple[int, int | str | bytes]
"""Its number and its value."""


def _message(*fields: _Field) -> bytes:
    parts = []
    for number, value in fields:
        if isinstance(value, int):
            parts += [_varint(number << 3), _varint(value)]
        else:
            data = value.encode() if isinstance(value, str) else value
            parts += [_varint(number << 3 | 2), _varint(len(data)), data]
    return b"".join(parts)


def _varint(value: int) -> bytes:
    """Return a number, 0 or more, as seven bits a byte, the lowest first."""
    low, rest = value & 127, value >> 7
    return bytes([low | 128]) + _varint(rest) if rest else bytes([low])


def _attribute(name: str, value: int | str | list[int]) -> bytes:
    if isinstance(value, int):
        return _message((1, name), (3, value), (20, _INT))
    if isinstance(value, str):
        return _message((1, name), (4, value), (20, _STRING))
    return _message((1, name), *((8, number) for number in value), (20, _INTS))


def _value(name: str, element: npt.DTypeLike, shape: _Shape) -> bytes:
    dims = [(1, _message((2 if isinstance(size, str) else 1, size))) for size in shape]
    tensor = _message((1, ELEMENT_TYPES[np.dtype(element)]), (2, _message(*dims)))
    return _message((1, name), (2, _message((1, tensor))))
