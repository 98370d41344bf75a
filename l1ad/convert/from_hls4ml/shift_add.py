"""Dense layers that da4ml wrote as shifts and additions, back to their weights.

Each variable of the generated function is followed as a linear form of the inputs.  Where its C++ type could lose
a bit of it, for any input of the input's type, the function is refused: then it is no dense layer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from l1ad.convert.from_hls4ml.declarations import Place
from l1ad.errors import UnsupportedError
from l1ad.fixed import FixedPoint, Raw, from_float
from l1ad.network import Integers

_TYPE = r"ap_u?(?:fixed|int)<[^>]*>"
_TOKEN = re.compile(rf"\s*(bit_shift<\s*-?\d+\s*>|{_TYPE}|inp\s*\[\s*\d+\s*\]|[\d.]+(?:e-?\d+)?|\w+|[-+()])")
_DECLARED = re.compile(rf"(?:const )?({_TYPE}) (\w+) = (.*)")
_OUT = re.compile(r"out\[(\d+)\] = (.*)")
_NOT = "shift-add code must be sums of shifted variables, not"


@dataclass(frozen=True)
class _Form:
    """``(coefficients @ raw inputs + constant) * 2**-frac``; the constant is the last coefficient."""

    coefficients: Integers
    frac: int

    def times(self, sign: int) -> _Form:
        return _Form(sign * self.coefficients, self.frac)

    def plus(self, other: _Form) -> _Form:
        frac = max(self.frac, other.frac)
        mine, theirs = (form.coefficients * 2 ** (frac - form.frac) for form in (self, other))
        return _Form(mine + theirs, frac)


def dense_weights(
    body: tuple[tuple[str, Place], ...], source: FixedPoint, n_in: int, n_out: int
) -> tuple[Raw, FixedPoint, Raw, FixedPoint]:
    """Weights of a generated function: ``weight, weight_type, bias, bias_type`` of a `Dense`.

    Parameters
    ----------
    body : tuple of (str, Place)
        Statements of the function.
    source : FixedPoint
        Type of its inputs.
    n_in, n_out : int

    Raises
    ------
    UnsupportedError
        If a statement is not understood, or a variable may lose bits; the text names the line.
    """
    variables: dict[str, _Form] = {}
    results: dict[int, _Form] = {}
    for text, place in body:
        declared, out = _DECLARED.fullmatch(text), _OUT.fullmatch(text)
        if declared:
            form = _parse(declared[3], variables, source, n_in, place)
            _require_exact(form, FixedPoint.parse(declared[1]), source, declared[2], place)
            variables[declared[2]] = form
        elif out:
            results[int(out[1])] = _parse(out[2], variables, source, n_in, place)
        elif not text.startswith("#pragma"):
            raise UnsupportedError(f"{place}: {_NOT} {text!r:.80}")
    if sorted(results) != list(range(n_out)):
        raise UnsupportedError(f"{body[-1][1]}: out must be set for 0 to {n_out - 1}, not for {sorted(results)}")
    frac = max(form.frac for form in results.values())
    matrix = np.stack([results[j].coefficients * 2 ** (frac - results[j].frac) for j in range(n_out)], axis=1)
    weight, bias = matrix[:-1].astype(np.int64), matrix[-1].astype(np.int64)
    types = [FixedPoint.holding(int(a.min()), int(a.max()), f) for a, f in ((weight, frac - source.frac), (bias, frac))]
    return weight, types[0], bias, types[1]


def _require_exact(form: _Form, kind: FixedPoint, source: FixedPoint, name: str, place: Place) -> None:
    """Refuse a variable whose type may lose bits of `form`."""
    dropped = 2 ** max(form.frac - kind.frac, 0)
    if any(int(c) % dropped for c in form.coefficients):
        raise UnsupportedError(f"{place}: {name!r} must keep its lowest bits in {kind}, and would drop some")
    weights, constant = form.coefficients[:-1], form.coefficients[-1]
    ends = np.stack([weights * source.min_raw, weights * source.max_raw])
    finer = 2 ** max(kind.frac - form.frac, 0)
    low, high = (int(end.sum() + constant) * finer // dropped for end in (ends.min(axis=0), ends.max(axis=0)))
    if low < kind.min_raw or high > kind.max_raw:
        raise UnsupportedError(
            f"{place}: {name!r} must lie in {kind}, and may be raw {low} .. {high} for some inputs in {source}"
        )


def _parse(text: str, variables: Mapping[str, _Form], source: FixedPoint, n_in: int, place: Place) -> _Form:
    """Linear form of an expression."""

    def tokens() -> Iterator[str]:
        at = 0
        while text[at:].strip():
            token = _TOKEN.match(text, at)
            if not token:
                raise UnsupportedError(f"{place}: {_NOT} {text[at:]!r:.80}")
            at = token.end()
            yield token[1]
        yield ""

    stream = tokens()
    ahead = next(stream)

    def take(expected: str = "") -> str:
        nonlocal ahead
        taken = ahead
        if not taken or (expected and taken != expected):
            raise UnsupportedError(f"{place}: expected {expected or 'a variable'!r} in {text!r:.80}, not {taken!r}")
        ahead = next(stream)
        return taken

    def unit(index: int, frac: int) -> _Form:
        coefficients = np.zeros(n_in + 1, object)
        coefficients[index] = 1
        return _Form(coefficients, frac)

    def bracket() -> _Form:
        take("(")
        inner = total()
        take(")")
        return inner

    def term() -> _Form:
        if ahead == "(":
            return bracket()
        word = take()
        if word.startswith("bit_shift"):
            shifted = bracket()
            return _Form(shifted.coefficients, shifted.frac - int(word[10:-1]))
        if word.startswith("ap_"):
            kind = FixedPoint.parse(word)
            take("(")
            sign = -1 if ahead == "-" else 1
            if ahead in ("-", "+"):
                take()
            number = sign * float(take())
            take(")")
            return _Form(unit(-1, 0).coefficients * int(from_float(number, kind)), kind.frac)
        if word.startswith("inp"):
            return unit(int(word[word.index("[") + 1 : -1]), source.frac)
        if word not in variables:
            raise UnsupportedError(f"{place}: {word!r} must be set before it is read")
        return variables[word]

    def total() -> _Form:
        sign = -1 if ahead == "-" else 1
        if ahead in ("-", "+"):
            take()
        form = term().times(sign)
        while ahead in ("-", "+"):
            sign = 1 if take() == "+" else -1
            form = form.plus(term().times(sign))
        return form

    form = total()
    if ahead:
        raise UnsupportedError(f"{place}: {text!r:.80} must end before {ahead!r}")
    return form
