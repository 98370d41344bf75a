"""Sums of products as the kernel takes them: weights by dword, and what each product may be."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from l1ad.emulate.native.arena import Index
from l1ad.emulate.native.programs import SAR, Program
from l1ad.emulate.native.structures import PARTS, U8
from l1ad.fixed import Raw
from l1ad.network import Integers, Network, aligned, exact
from l1ad.operations import Convolution, Dense


class Sum:
    """One dense or convolutional operation of a network, in Python integers.

    Attributes
    ----------
    weight : object array, shape (terms, filters)
        In the units of the exact sum.
    bias : object array, shape (filters,)
        Likewise.
    windows : int32 array, shape (windows, terms)
        Element of the operand that each term reads; -1 in the padding.
    """

    def __init__(self, operation: Dense | Convolution, network: Network) -> None:
        self.operation, self.network = operation, network
        self.frac = aligned(operation, network)
        flat = operation.weight.reshape(-1, operation.weight.shape[-1])
        self.weight: Integers = exact(flat) << (self.frac - network[operation.x].out.frac - operation.weight_type.frac)
        self.bias: Integers = exact(operation.bias) << (self.frac - operation.bias_type.frac)
        windows = operation.windows() if isinstance(operation, Convolution) else np.arange(len(flat))[None]
        self.windows: Index = windows.astype(np.int32)

    def products(self) -> tuple[Integers, Integers]:
        """Range of the products of each weight, before any cast, shape (terms, filters); 0, of the padding, is in."""
        flow = self.network.flows[self.operation.x]
        low, high = (np.append(end, 0)[self.windows][:, :, None] for end in (flow.low, flow.high))
        ends = np.stack([low.min(axis=0) * self.weight, high.max(axis=0) * self.weight])
        return np.minimum(ends.min(axis=0), 0), np.maximum(ends.max(axis=0), 0)

    def terms(self) -> Program:
        """The program that each product goes through."""
        program = Program(*self.products(), f"operation {self.operation.name!r}")
        if self.operation.product is not None:
            program.cast(self.frac, self.operation.product)
        return program

    def dropped(self) -> tuple[int, int] | None:
        """What is added to each product and the bits dropped then, if that is all of its cast, in 16 bits."""
        terms = self.terms()
        add, ops = terms.started()
        return (add, ops[0].a) if terms.bits == 16 and [op.code for op in ops] == [SAR] else None

    def packed(self, format: int, place: Index, byte_dots: int) -> Raw | None:
        """Weights by dword of the operand, shape (dwords, numbers of a dword, filters); None if they do not fit.

        Parameters
        ----------
        format, place : of the operand
        byte_dots : int
            See `Abilities`.
        """
        accumulator = self.network.flows[self.operation.name].accumulator
        if accumulator.width > 31 + accumulator.signed:
            return None
        if self.operation.product is not None and (format == U8 or self.dropped() is None):
            return None
        if np.abs(self.weight).max() > (127 if format == U8 else 32767):
            return None
        parts, weight = PARTS[format], self.weight.astype(np.int64)
        if isinstance(self.operation, Dense):
            terms = np.zeros((parts * (int(place.max()) // parts + 1), weight.shape[1]), np.int64)
            terms[place] = weight
        else:
            terms = np.pad(weight, ((0, -len(weight) % parts), (0, 0)))
        if format == U8 and np.abs(terms).reshape(-1, 2, weight.shape[1]).sum(axis=1).max() > byte_dots:
            return None
        return terms.reshape(-1, parts, weight.shape[1])

    def groups(self, format: int, place: Index) -> tuple[Index, npt.NDArray[np.bool_]]:
        """Positions that share a dword, of each group of terms of each window, and which of them lie so already.

        Returns
        -------
        int32 array, shape (windows * groups, numbers of a dword)
            -1 in the padding, -2 behind the last term.
        bool array, shape (windows * groups,)
        """
        parts = PARTS[format]
        positions = np.where(self.windows < 0, -1, place[self.windows])
        positions = np.pad(positions, ((0, 0), (0, -positions.shape[1] % parts)), constant_values=-2)
        groups = positions.reshape(-1, parts).astype(np.int32)
        first = groups[:, :1]
        together = ((groups == first + np.arange(parts)) | (groups == -2)).all(axis=1)
        return groups, together & (first[:, 0] >= 0) & (first[:, 0] % parts == 0)


def fours(array: npt.NDArray[Any]) -> Raw:
    """By four filters, the last axis: shape (..., filters) to (tiles, ..., 4), filled up with 0."""
    padded = np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, -array.shape[-1] % 4)])
    return np.moveaxis(padded.reshape(*array.shape[:-1], -1, 4), -2, 0).astype(np.int64)


def dwords_of(numbers: Raw, format: int) -> Index:
    """Dwords of the numbers along the last axis but one."""
    bits = 32 // PARTS[format]
    parts = (numbers & ((1 << bits) - 1)) << (bits * np.arange(PARTS[format]))[:, None]
    packed: Index = parts.sum(axis=-2).astype(np.uint32).view(np.int32)
    return packed
