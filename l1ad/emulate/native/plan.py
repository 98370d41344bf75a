"""How the kernel is to execute a network: where each value lies, in how many bits, and by which steps."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from l1ad.emulate.native.arena import Arena, Index, Value, dwords
from l1ad.emulate.native.entrance import HIGHEST, LOWEST, constants, find_entrance
from l1ad.emulate.native.programs import ADD, CLAMP, END, Op, Program
from l1ad.emulate.native.structures import (
    DOT,
    DOT16,
    FAST,
    FORMATS,
    GATHER,
    HOW,
    I16,
    I32,
    I64,
    KINDS,
    MAP,
    MASK,
    MERGE,
    PARTS,
    RESIDUAL,
    SUM,
    SUM8,
    SUM16,
    TERMS16,
    U8,
    COp,
    CPlan,
    CStep,
    CValue,
)
from l1ad.emulate.native.sums import Sum, dwords_of, fours
from l1ad.errors import UnsupportedError
from l1ad.fixed import cast
from l1ad.network import Network, aligned, exact, product_range
from l1ad.operations import (
    Affine,
    Cast,
    Convolution,
    Dense,
    Dot,
    Input,
    Lookup,
    Mask,
    Merge,
    Operation,
    reads,
)

EVENTS, GROUP = 64, 8
"""Of a block; and blocks of columns that enter together."""


@dataclass(frozen=True)
class Abilities:
    """What an instruction set does well.

    Parameters
    ----------
    byte_dots : int
        Largest |w0| + |w1| of two neighbouring weights of one byte that it multiplies exactly; 0: none.
    """

    byte_dots: int


class Plan:
    """The plan of one network for one kind of kernel, as C structures; it owns what they point to.

    Parameters
    ----------
    network : Network
    abilities : Abilities

    Attributes
    ----------
    c : CPlan
    dwords : int
        Of the arena; each is 4 bytes of `EVENTS` events.
    steps : tuple of (str, str)
        Name of the operation that each step ends with, and the arithmetic chosen.

    Raises
    ------
    UnsupportedError
        If a step needs more than 64 bits.
    """

    def __init__(self, network: Network, abilities: Abilities) -> None:
        self._network, self._abilities = network, abilities
        self._keep: list[Any] = []
        self._arena = Arena()
        self._readers: dict[str, list[Operation]] = {o.name: [] for o in network.operations}
        for operation in network.operations:
            for name in dict.fromkeys(reads(operation)):
                self._readers[name].append(operation)
        self._values: dict[str, Value] = {}
        self._steps: list[CStep] = []
        self._names: list[tuple[str, str]] = []
        self._unread = {name: len(readers) for name, readers in self._readers.items()}
        place = np.arange(len(network.input.columns), dtype=np.int32)
        raw = self._place(network.input, place, whole=True)
        chain = self._entrance_chain()
        columns, scaled, done = None, raw, {network.input.name}
        if chain:
            scaled = self._place(chain[-1], place)
            columns = find_entrance(network, chain, scaled.zero) if scaled.format in (U8, I16) else None
            if columns is None:
                self._arena.give(scaled.start, scaled.dwords)
            else:
                done |= {operation.name for operation in chain}
                self._names.append((chain[-1].name, f"ENTRANCE int16 -> {FORMATS[scaled.format]}"))
                if self._unread[network.input.name] == 1:
                    self._release(chain[0])
        padded = -(-len(place) // 64) * 64 + 64
        for operation in network.operations[1:]:
            if operation.name not in done:
                done |= self._plan(operation)
        self.dwords = self._arena.size
        self.steps = tuple(self._names)
        self.c = CPlan(
            columns=len(place),
            steps=len(self._steps),
            padded=padded,
            is_scaled=columns is not None,
            keeps_raw=len(self._readers[network.input.name]) > 1,
            cuts=any(column.keep != -1 for column in columns or ()),
            turns=any(column.even for column in columns or ()),
            goes_down=any(column.down for column in columns or ()),
            goes_up=any(column.up for column in columns or ()),
            saturates=any((column.bottom, column.top) != (LOWEST, HIGHEST) for column in columns or ()),
            tiles=sum(s.windows * -(-s.filters // 4) for s in self._steps if s.kind in (SUM8, SUM16, TERMS16)) or 1,
            entered=(raw if columns is None else scaled).start + (raw if columns is None else scaled).dwords,
            low=self._pointer(network.input.low),
            high=self._pointer(network.input.high),
            entrance=self._pointer(constants(network, columns, padded)),
            input=self._value(raw),
            scaled=self._value(scaled),
            score=self._value(self._values[network.score.name]),
            step=self._structures(CStep, self._steps),
        )

    def _entrance_chain(self) -> list[Operation]:
        """Operations that follow the input, one of its readers, each the only reader of the one before."""
        chain: list[Operation] = []
        readers: list[Operation] = [
            o for o in self._readers[self._network.input.name] if isinstance(o, Affine | Cast | Lookup)
        ]
        while len(readers) == 1 and isinstance(readers[0], Affine | Cast | Lookup):
            chain.append(readers[0])
            readers = self._readers[chain[-1].name]
        return chain

    # what C points to

    def _pointer(self, array: npt.NDArray[Any]) -> int:
        kept = np.ascontiguousarray(array)
        self._keep.append(kept)
        return kept.ctypes.data

    def _structures(self, kind: Any, items: list[Any]) -> int:
        array = (kind * len(items))(*items)
        self._keep.append(array)
        return ctypes.addressof(array)

    def _program(self, ops: list[Op]) -> int:
        made = []
        for op in ops:
            each = None if op.each is None else self._pointer(np.append(op.each, np.zeros(4, np.int64)))
            made.append(COp(op.code, 0, op.a, op.b, each))
        return self._structures(COp, [*made, COp(END)])

    def _value(self, value: Value) -> CValue:
        return CValue(value.format, len(value.place), value.start, 0, value.zero, self._pointer(value.place))

    # where values lie

    def _place(self, operation: Operation, place: Index, whole: bool = False) -> Value:
        """Lay out the result of an operation; `whole`: as the input, never in bytes."""
        flow = self._network.flows[operation.name]
        low, high = int(min(flow.low)), int(max(flow.high))
        if any(isinstance(o, Convolution) and any(o.padding) for o in self._readers[operation.name]):
            low, high = min(low, 0), max(high, 0)  # the padding
        zero = 0 if low >= 0 and high <= 255 else -128 if low >= -128 and high <= 127 else low
        sums = [o for o in self._readers[operation.name] if isinstance(o, Dense | Convolution)]
        if not whole and sums and high - low <= 255 and all(self._packs(o, place) for o in sums):
            format = U8
        else:
            zero = 0
            format = I16 if -(2**15) <= low <= high < 2**15 else I32 if -(2**31) <= low <= high < 2**31 else I64
        value = Value(format, zero, place, self._arena.take(dwords(format, place)))
        self._values[operation.name] = value
        return value

    def _packs(self, operation: Dense | Convolution, place: Index) -> bool:
        """Whether a sum can take its operand in bytes."""
        return Sum(operation, self._network).packed(U8, place, self._abilities.byte_dots) is not None

    def _release(self, operation: Operation) -> None:
        """Take back what nothing else will read."""
        for name in dict.fromkeys(reads(operation)):
            self._unread[name] -= 1
            if not self._unread[name] and name in self._values:
                self._arena.give(self._values[name].start, self._values[name].dwords)

    # steps

    def _plan(self, operation: Operation) -> set[str]:
        """Plan an operation and those that can follow it in the lanes; their names."""
        together = self._residual(operation) or [operation]
        last = together[-1]
        step, program = self._begin(operation) if len(together) == 1 else self._begin_residual(together)
        program.cast(self._frac(last), last.out)
        if step.kind in FAST and program.bits > 32:
            together, last = [operation], operation
            step, program = self._begin(operation, slow=True)
            program.cast(self._frac(operation), operation.out)
        done = {each.name for each in together}
        while len(self._readers[last.name]) == 1:
            following = self._readers[last.name][0]
            if not isinstance(following, Affine | Cast | Lookup):
                break
            longer = self._follow(program, following)
            if longer.bits > max(32, program.bits):
                break
            program, last = longer, following
            done.add(last.name)
        self._finish(step, program, operation, last)
        for each in together:
            self._release(each)
        return done

    def _residual(self, merge: Operation) -> list[Operation]:
        """A sum or difference, what masks it, if anything does, and the sum of its squares, if one step can do them."""
        found = [merge]
        while len(self._readers[found[-1].name]) == 1 and not isinstance(found[-1], Dot):
            found.append(self._readers[found[-1].name][0])
        match found:
            case [Merge(how="add" | "subtract", x=x, y=y), Dot(product=None) as dot]:
                by_pairs = True
            case [Merge(how="add" | "subtract", x=x, y=y), Mask(x=masked, by=by), Dot(product=None) as dot]:
                by_pairs = masked == merge.name != by and self._values[by].format == I16
            case _:
                return []
        if dot.x != dot.y or self._accumulated(dot).bits > 32 or not (by_pairs and self._in_pairs(x, y)):
            return []
        for each in found[:-1]:  # which must lose nothing
            program = self._accumulated(each)
            if isinstance(each, Merge):
                self._reach_operands(program, each)
            program.cast(self._frac(each), each.out)
            if program.ops or program.bits > 16:
                return []
        return found

    def _begin_residual(self, found: list[Operation]) -> tuple[CStep, Program]:
        merge, *masks, dot = found
        step, _ = self._begin(merge)
        step.kind, step.terms = RESIDUAL, -(-self._network.flows[merge.name].size // 2)
        for mask in masks:
            if isinstance(mask, Mask):
                place = np.append(self._values[mask.by].place[mask.index], np.zeros(4, np.int32))
                step.index, step.z = self._pointer(place), self._value(self._values[mask.by])
        return step, self._accumulated(dot)

    def _in_pairs(self, *names: str) -> bool:
        """Whether values lie in order, and can be taken as pairs of 16-bit numbers."""
        values = [self._values[name] for name in names]
        return all(v.format in (U8, I16) and np.array_equal(v.place, np.arange(len(v.place))) for v in values)

    def _reach_operands(self, program: Program, merge: Merge) -> list[int]:
        """Note the aligned operands of a merge; the bits by which each goes up."""
        frac, names = aligned(merge, self._network), (merge.x, merge.y)
        ups = [0 if merge.how == "multiply" else frac - self._network[name].out.frac for name in names]
        for name, up in zip(names, ups, strict=True):
            program.reach(self._network.flows[name].low << up, self._network.flows[name].high << up)
        return ups

    def _frac(self, operation: Operation) -> int:
        """Fractional bits of the exact result."""
        match operation:
            case Dense(product=product) | Convolution(product=product) | Dot(product=product) if product is not None:
                return product.frac
            case Affine() | Dense() | Convolution() | Merge() | Dot():
                return aligned(operation, self._network)
            case Lookup(out=out):
                return out.frac
            case _:
                return self._network[reads(operation)[0]].out.frac

    def _follow(self, program: Program, operation: Affine | Cast | Lookup) -> Program:
        """The program with an operation more on what it gives."""
        longer = program.copy()
        self._unary(longer, operation)
        longer.cast(self._frac(operation), operation.out)
        return longer

    def _unary(self, program: Program, operation: Affine | Cast | Lookup) -> None:
        """Steps of an operation on one value, up to its cast."""
        network = self._network
        match operation:
            case Affine(x=x, scale=scale, scale_type=scale_type, bias=bias, bias_type=bias_type):
                frac = aligned(operation, network)
                program.multiply(exact(scale) << (frac - network[x].out.frac - scale_type.frac))
                program.add(exact(bias) << (frac - bias_type.frac))
            case Lookup(x=x, table=table):
                program.look(table, network[x].out.min_raw)

    def _ranges(self, name: str, where: str) -> Program:
        flow = self._network.flows[name]
        return Program(flow.low, flow.high, where)

    def _begin(self, operation: Operation, slow: bool = False) -> tuple[CStep, Program]:
        """A step without its end, and the program of its exact result."""
        where, network = f"operation {operation.name!r}", self._network
        match operation:
            case Affine(x=x) | Cast(x=x) | Lookup(x=x):
                program = self._ranges(x, where)
                self._unary(program, operation)
                return CStep(kind=MAP, x=self._value(self._values[x])), program
            case Dense() | Convolution():
                return self._sum(operation, slow)
            case Merge(how=how, x=x, y=y):
                program = self._accumulated(operation)
                ups = self._reach_operands(program, operation)
                step = CStep(kind=MERGE, how=HOW[how], up_x=ups[0], up_y=ups[1])
                step.x, step.y = self._value(self._values[x]), self._value(self._values[y])
                return step, program
            case Mask(x=x, by=by, index=index):
                program = self._accumulated(operation)
                program.reach(network.flows[by].low, network.flows[by].high)
                place = np.append(self._values[by].place[index], np.zeros(4, np.int32))  # read in fours
                step = CStep(kind=MASK, index=self._pointer(place))
                step.x, step.y = self._value(self._values[x]), self._value(self._values[by])
                return step, program
            case Dot():
                return self._dot(operation, slow)
            case Input() | _:
                raise UnsupportedError(f"native emulator does not implement {type(operation).__name__}")

    def _accumulated(self, operation: Operation) -> Program:
        """The empty program on the exact results of an operation, in lanes that hold every partial sum."""
        flow = self._network.flows[operation.name]
        program = Program(flow.exact_low, flow.exact_high, f"operation {operation.name!r}")
        program.reach(flow.accumulator.min_raw, flow.accumulator.max_raw)
        return program

    def _dot(self, operation: Dot, slow: bool) -> tuple[CStep, Program]:
        network, (x, y) = self._network, (self._values[operation.x], self._values[operation.y])
        program = self._accumulated(operation)
        step = CStep(x=self._value(x), y=self._value(y))
        pairs = x.format == y.format == I16 and np.array_equal(x.place, y.place)
        pairs &= network.input.name not in (operation.x, operation.y)  # behind its last column lies anything
        if pairs and operation.product is None and program.bits <= 32 and not slow:
            step.kind, step.terms = DOT16, int(x.place.max()) // 2 + 1
            return step, program
        (a, b), where = (network.flows[name] for name in (operation.x, operation.y)), f"operation {operation.name!r}"
        products = Program(*product_range(a, b, operation.x == operation.y), where)
        if operation.product is not None:
            products.cast(aligned(operation, network), operation.product)
            step.product = self._program(products.ops)
        for flow in (a, b):
            program.reach(flow.low, flow.high)
        program.bits = max(program.bits, products.bits)
        step.kind = DOT
        return step, program

    def _sum(self, operation: Dense | Convolution, slow: bool) -> tuple[CStep, Program]:
        x, sum = self._values[operation.x], Sum(operation, self._network)
        program, bias = self._accumulated(operation), sum.bias
        if operation.product is not None:
            bias = exact(cast(bias.astype(np.int64), sum.frac, operation.product))
        step = CStep(windows=len(sum.windows), filters=sum.weight.shape[1], x=self._value(x))
        terms = None
        if not slow and x.format in (U8, I16):
            terms = sum.packed(x.format, x.place, self._abilities.byte_dots)
        if terms is not None:
            step.kind = SUM8 if x.format == U8 else SUM16
            if dropped := operation.product and sum.dropped():
                step.kind, step.up_x, step.up_y = TERMS16, *dropped
            index = self._dword_index(sum, x)
            used = np.asarray(terms.any(axis=(1, 2)) | isinstance(operation, Convolution))
            used[0] = True
            step.weights = self._pointer(dwords_of(fours(terms[used]), x.format))
            step.index = self._pointer(index[:, used])
            step.terms = int(used.sum())
            self._bias = bias + x.zero * sum.weight.sum(axis=0)
            return step, program
        flow = self._network.flows[operation.x]
        program.reach(flow.low, flow.high)
        program.reach(sum.weight, sum.weight)
        program.reach(bias, bias)
        products = sum.terms()
        program.bits = max(program.bits, products.bits)
        step.kind, step.terms = SUM, sum.windows.shape[1]
        step.product = None if operation.product is None else self._program(products.ops)
        step.index = self._pointer(np.where(sum.windows < 0, -1, x.place[sum.windows]).astype(np.int32))
        step.weights = self._pointer(fours(sum.weight))
        self._bias = bias
        return step, program

    def _dword_index(self, sum: Sum, x: Value) -> Index:
        """Dword of the arena of each group of terms of each window; what lies apart is gathered first."""
        parts = PARTS[x.format]
        if isinstance(sum.operation, Dense):
            return np.arange(x.start, x.start + int(x.place.max()) // parts + 1, dtype=np.int32)[None]
        groups, together = sum.groups(x.format, x.place)
        apart, number = np.unique(np.maximum(groups, -1), axis=0, return_inverse=True)
        wanted = np.unique(number.ravel()[~together])
        rank, start = np.zeros(len(apart), np.int32), 0
        rank[wanted] = np.arange(len(wanted))
        if len(wanted):
            start = self._arena.take(len(wanted))
            made = Value(x.format, 0, np.arange(len(wanted), dtype=np.int32), start)
            step = CStep(kind=GATHER, x=self._value(x), out=self._value(made))
            step.index = self._pointer(apart[wanted])
            self._steps.append(step)
            self._names.append((sum.operation.name, f"GATHER -> {FORMATS[x.format]}"))
        index = np.where(together, x.start + groups[:, 0] // parts, start + rank[number.ravel()])
        return index.reshape(len(sum.windows), -1).astype(np.int32)

    def _finish(self, step: CStep, program: Program, operation: Operation, last: Operation) -> None:
        """Give a step its end, and its result a place."""
        size = self._network.flows[last.name].size
        place = np.arange(size, dtype=np.int32)
        if isinstance(operation, Dense | Convolution):
            window, filter = np.divmod(place, step.filters)
            place = window * (-(-step.filters // 4) * 4) + filter
        out = self._place(last, place)
        step.lanes = self._lanes(step, program, operation, place, out)
        start, ops = program.started() if step.kind in (SUM8, SUM16, TERMS16) else (0, list(program.ops))
        if isinstance(operation, Dense | Convolution):  # modulo 2**32 where so wide: the sum itself is proved to fit
            bias = self._bias + start
            bias = bias if step.kind == SUM else (bias + 2**31) % 2**32 - 2**31
            step.bias = self._pointer(fours(bias.astype(np.int64)).ravel())
        if ops and ops[-1].code == CLAMP and not out.zero:
            clamp = ops.pop()
            least, most = {U8: (0, 255), I16: (-(2**15), 2**15 - 1)}.get(out.format, (-(2**63), 2**63 - 1))
            step.clamp, step.low, step.high = 1, max(clamp.a, least), min(clamp.b, most)
        if out.zero:
            ops.append(Op(ADD, -out.zero))
        step.out = self._value(out)
        step.program = self._program(ops)
        self._steps.append(step)
        self._names.append((last.name, f"{KINDS[step.kind]} int{step.lanes} -> {FORMATS[out.format]}"))

    def _lanes(self, step: CStep, program: Program, operation: Operation, place: Index, out: Value) -> int:
        """Bits of the lanes: as many as the program needs, and 16 only where all lies in pairs of such numbers."""
        if step.kind in (SUM8, SUM16, TERMS16):
            in_order = all(op.each is None for op in program.ops) or np.array_equal(place, np.arange(len(place)))
            return 16 if out.format in (U8, I16) and out.zero == 0 and in_order and program.narrow() else 32
        narrow = step.kind in (MAP, MERGE, MASK) and out.format in (U8, I16) and program.bits == 16 and out.zero == 0
        return 16 if narrow and self._in_pairs(*reads(operation)) else max(program.bits, 32)
