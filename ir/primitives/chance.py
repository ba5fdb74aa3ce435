"""Random numbers without a state: a function of a key and a counter, equal on every machine, bit for bit."""

import math
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, final

import numpy as np

from banach.ir.exact import Interval
from banach.ir.graph import Builder, Value
from banach.ir.primitive import Cotangents, Known, Primitive, Regions, Sample, Types, Values
from banach.ir.tensor_type import TensorType, TypeMismatch, broadcast, numpy_dtype

# The function's own constants, from salmon-2011: the amounts of rotation of eight rounds, and the word whose
# sum with both words of the key, by exclusive or, is the third.
ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
PARITY = 0x1BD11BDA
ROUNDS = 20
WORD = 1 << 32


def _check_pairs(type: TensorType) -> None:
    if type.dtype != "int64" or not type.rank or type.shape[-1] != 2:
        raise TypeMismatch(f"takes pairs of int64 on a last axis of 2, not {type}")


@final
class Threefry(Primitive):
    """Two random words for every counter: Threefry-2x32 with 20 rounds.

    Maths    a bijection of pairs of 32-bit words for every key: rounds (a, b) ↦ (a + b, rot(b) ⊕ (a + b)),
             and after every fourth one words of the key and the count of fours are added
    Types    key: int64[*r, 2], counter: int64[*s, 2], taken modulo 2³² -> y: int64[*r|s, 2] in [0, 2³²)
    Reverse  none: an integer has no tangent
    Facts    values in 0 .. 2³² - 1
    Source   salmon-2011, section 4.2
    """

    core = (1, 1)

    def types(self, operands: Types, regions: Regions) -> Types:
        for type in operands:
            _check_pairs(type)
        return (TensorType("int64", broadcast(*(t.shape for t in operands))),)

    def evaluate(self, key: np.ndarray, counter: np.ndarray) -> np.ndarray:
        k0, k1, a, b = (np.uint32(np.asarray(x)[..., i] % WORD) for x in (key, counter) for i in range(2))
        schedule = (k0, k1, k0 ^ k1 ^ np.uint32(PARITY))
        with np.errstate(over="ignore"):  # words wrap around
            a, b = a + k0, b + k1
            for i in range(ROUNDS):
                r = ROTATIONS[i % 8]
                a = a + b
                b = (b << np.uint32(r) | b >> np.uint32(32 - r)) ^ a
                if i % 4 == 3:
                    four = i // 4 + 1
                    a = a + schedule[four % 3]
                    b = b + schedule[(four + 1) % 3] + np.uint32(four)
        return np.stack(np.broadcast_arrays(a, b), axis=-1).astype(np.int64)

    def reverse(self, build: Builder, operands: Values, results: Values, cotangents: Values) -> Cotangents:
        return None, None

    def range(self, operands: Sequence[Known]) -> Interval:
        return Interval.between(0, WORD - 1)

    def samples(self) -> Iterable[Sample]:
        yield Sample((np.array([1, 2]), np.array([[0, 0], [1, 0], [WORD - 1, 7]])))


class _FromBits(Primitive):
    core = (1,)

    def types(self, operands: Types, regions: Regions, *, dtype: str) -> Types:
        (bits,) = operands
        _check_pairs(bits)
        if dtype not in ("float64", "float32"):
            raise TypeMismatch(f"makes float64 or float32, not {dtype}")
        return (self.result(bits.with_dtype(dtype)),)

    @abstractmethod
    def result(self, pairs: TensorType) -> TensorType:
        """The type of what is made of pairs of words, which have the dtype asked for."""

    def reverse(
        self, build: Builder, operands: Values, results: Values, cotangents: Values, **attributes: Any
    ) -> Cotangents:
        return (None,)

    def samples(self) -> Iterable[Sample]:
        bits = np.array([[0, 0], [WORD - 1, WORD - 1], [123456789, 987654321]])
        yield Sample((bits,), {"dtype": "float64"})
        yield Sample((bits[1:],), {"dtype": "float32"})


@final
class Uniform(_FromBits):
    """A number between 0 and 1, never either, from two random words.

    Maths    y = (m + 1/2)/2^p, where m is made of the p leading bits: 52, 26 of either word, in float64; 23
             of the first word in float32. So y has an exact value, and y and 1 - y have the same distribution
    Types    bits: int64[*s, 2] in [0, 2³²) -> y: dtype[*s]
    Reverse  none: bits have no tangent
    Facts    values in [2^(-p-1), 1 - 2^(-p-1)]
    Source   textbook
    """

    def result(self, pairs: TensorType) -> TensorType:
        return pairs.with_shape(pairs.shape[:-1])

    def evaluate(self, bits: np.ndarray, *, dtype: str) -> np.ndarray:
        if dtype == "float32":
            return ((bits[..., 0] >> 9) + 0.5).astype(np.float32) * np.float32(2.0**-23)
        return (((bits[..., 0] >> 6) << 26 | bits[..., 1] >> 6) + 0.5) * 2.0**-52

    def range(self, operands: Sequence[Known], *, dtype: str) -> Interval:
        half = Interval.of(2.0**-53 if dtype == "float64" else 2.0**-24)
        return Interval(half.lo, (1 - half).hi)

    def decompose(self, build: Builder, bits: Value, *, dtype: str) -> Value:
        """In floats, of which float64 holds every number here exactly."""
        first, second = _words(bits)
        if dtype == "float32":
            return build.op("cast", (build.op("floor", first * 2.0**-9) + 0.5) * 2.0**-23, dtype=dtype)
        high, low = (build.op("floor", word * 2.0**-6) for word in (first, second))
        return (high * 2.0**26 + low + 0.5) * 2.0**-52


def _words(bits: Value) -> list[Value]:
    """Both words, as float64."""
    build, found = bits.builder, []
    for i in range(2):
        word = build.op("slice", bits, axis=-1, start=i, stop=i + 1)
        word = build.op("reshape", word, shape=bits.type.shape[:-1])
        found.append(build.op("cast", word, dtype="float64"))
    return found


@final
class Normal(_FromBits):
    """Two independent standard normal numbers from two random words.

    Maths    y = √(-2 log u)·(cos 2πv, sin 2πv), u = (first + 1/2)/2³², v = (second + 1/2)/2³²
    Types    bits: int64[*s, 2] in [0, 2³²) -> y: dtype[*s, 2]; the work is done in float64
    Reverse  none: bits have no tangent
    Facts    |y| <= √(66 log 2) < 6.764: beyond, a normal number is found once in 7·10¹⁰
    Source   box-muller-1958
    """

    def result(self, pairs: TensorType) -> TensorType:
        return pairs

    def evaluate(self, bits: np.ndarray, *, dtype: str) -> np.ndarray:
        u, v = ((bits[..., i] + 0.5) / WORD for i in range(2))
        y = np.sqrt(-2 * np.log(u))[..., None] * np.stack([np.cos(2 * np.pi * v), np.sin(2 * np.pi * v)], -1)
        return y.astype(numpy_dtype(dtype))

    def range(self, operands: Sequence[Known], *, dtype: str) -> Interval:
        return Interval.between("-6.764", "6.764")

    def decompose(self, build: Builder, bits: Value, *, dtype: str) -> Value:
        """As written."""
        u, v = _words(bits)
        radius = build.op("sqrt", -2.0 * build.op("log", (u + 0.5) / float(WORD)))
        angle = 2 * math.pi * ((v + 0.5) / float(WORD))
        both = [build.op(name, angle) for name in ("cos", "sin")]
        column = (*radius.type.shape, 1)
        pair = [build.op("reshape", radius * x, shape=column) for x in both]
        y = build.op("concatenate", *pair, axis=-1)
        return y if dtype == "float64" else build.op("cast", y, dtype=dtype)
