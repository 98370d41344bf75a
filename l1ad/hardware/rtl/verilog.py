"""A pipelined graph as Verilog: one wire for each node, one register for each clock that it waits.

``valid[i]`` is 1 in the clock in which an event is in stage i + 1.  It says when digits are loaded, and which it is
that an accumulator adds: events are so far apart that it is the only one of its neighbours that is 1.

All vectors are plain bits, in two's complement where a number can be negative; what an operator needs is spelt out.
"""

from __future__ import annotations

import re
from itertools import pairwise

from l1ad.hardware.rtl.design import Port
from l1ad.hardware.rtl.graph import (
    Accumulate,
    AtLeast,
    Choose,
    Column,
    Constant,
    Digits,
    Even,
    Graph,
    Saturate,
    Shift,
    Sum,
    Table,
    Wrap,
)
from l1ad.hardware.rtl.pipeline import Pipeline, registers

TAKEN = ("clk", "rst", "valid_in", "threshold", "valid_out", "score", "accept", "valid", "result")
"""Ports and registers that every design has.  Names that are made of others have two underscores, as no other has."""
RESERVED = frozenset(
    re.findall(
        r"\w+",
        "always and assign automatic begin bit buf byte case cell chandle class cmos config const context "
        "continue cover cross deassign default defparam design disable dist do edge else end enum event "
        "expect export extends extern final for force forever fork function generate genvar global if iff "
        "ifnone import incdir include initial inout input inside instance int integer interface join let "
        "liblist library local localparam logic longint macromodule matches medium modport module nand "
        "negedge new nexttime nor not notif0 notif1 null or output package packed parameter pmos posedge "
        "primitive priority program property protected pull0 pull1 pulldown pullup pure rand randc real "
        "realtime ref reg release repeat restrict return rnmos rpmos rtran scalared sequence shortint "
        "shortreal signed small solve specify static strength string strong struct super supply0 supply1 "
        "table tagged task this throughout time timeprecision timeunit tran tri tri0 tri1 triand trior type "
        "typedef union unique unsigned until untyped use uwire var vectored virtual void wait wand weak while "
        "wildcard wire with within wor xnor xor abs access after alias all architecture array assert "
        "attribute block body buffer bus component configuration constant disconnect downto elsif entity exit "
        "file generic group guarded impure in inertial is label linkage literal loop map mod next of on open "
        "others out port postponed procedure process range record register reject rem report rol ror select "
        "severity shared signal sla sll sra srl subtype then to transport unaffected units variable when ",
    )
)
"""Words of Verilog, SystemVerilog and VHDL."""


def identifiers(names: list[str]) -> list[str]:
    """Names as identifiers of Verilog and VHDL, each once, in lower and upper case too."""
    taken = set(TAKEN)
    out = []
    for name in names:
        plain = re.sub(r"_+", "_", re.sub(r"\W", "_", name, flags=re.ASCII)).strip("_") or "x"
        plain = plain if plain[0].isalpha() else f"x{plain}"
        found, number = plain, 1
        while found.lower() in taken or found.lower() in RESERVED:
            number += 1
            found = f"{plain}_{number}"
        taken.add(found.lower())
        out.append(found)
    return out


class _Writer:
    """Expressions of the nodes of a graph."""

    def __init__(self, graph: Graph, pipeline: Pipeline, columns: list[str]) -> None:
        self.graph, self.pipeline = graph, pipeline
        numbers = sorted(pipeline.stage)
        inner = [n for n in numbers if not isinstance(graph.nodes[n], Column)]
        names = identifiers([*columns, *(graph.names[n] for n in inner)])
        self.columns = names[: len(columns)]
        self.names = dict(zip(inner, names[len(columns) :], strict=True))
        self.names |= {n: self.columns[node.index] for n in numbers if isinstance(node := graph.nodes[n], Column)}
        self.waits: dict[int, int] = {}  # node -> registers behind it

    def at(self, number: int, stage: int) -> str:
        """A node as it is known in a stage."""
        waits = stage - self.pipeline.stage[number]
        self.waits[number] = max(self.waits.get(number, 0), waits)
        return f"{self.names[number]}__d{waits}" if waits else self.names[number]

    def part(self, number: int, stage: int, high: int, low: int) -> str:
        """Some bits of a node."""
        name, width = self.at(number, stage), self.graph.width(number)
        if (high, low) == (width - 1, 0):
            return name
        return f"{name}[{high}:{low}]" if high > low else f"{name}[{low}]"

    def filled(self, number: int, stage: int, text: str, bits: int) -> str:
        """Bits of a node with so many more before them, of its sign."""
        if not bits:
            return text
        if not self.graph.signed(number):
            return f"{{{bits}'d0, {text}}}"
        top = self.graph.width(number) - 1
        return f"{{{{{bits}{{{self.part(number, stage, top, top)}}}}}, {text}}}"

    def sized(self, number: int, stage: int, width: int) -> str:
        """A node in so many bits: extended, or its last ones."""
        return self.above(number, stage, 0, width)

    def above(self, number: int, stage: int, down: int, width: int) -> str:
        """Bits of a node from `down` on, in so many bits."""
        if (value := self.graph.value(number)) is not None:
            return f"{width}'d{(value >> down) % (1 << width)}"
        top = self.graph.width(number) - 1
        if down > top:  # nothing but sign
            sign = self.part(number, stage, top, top)
            return f"{{{width}{{{sign}}}}}" if self.graph.signed(number) else f"{width}'d0"
        kept = min(width, top + 1 - down)
        return self.filled(number, stage, self.part(number, stage, down + kept - 1, down), width - kept)

    def expression(self, number: int) -> str:
        """What a node is, in its own stage and width."""
        graph, stage, width = self.graph, self.pipeline.stage[number], self.graph.width(number)
        match graph.nodes[number]:
            case Sum(a, up_a, b, up_b, minus):
                return self.adder(a, up_a, b, up_b, minus, stage, width)
            case Shift(a, down) if down > 0:
                return self.above(a, stage, down, width)
            case Shift(a, down):
                return f"{{{self.sized(a, stage, width + down)}, {-down}'d0}}"
            case Wrap(a, _, _):
                return self.sized(a, stage, width)
            case Saturate(a, low, high):
                out = self.sized(a, stage, width)
                if high < graph.high[a]:
                    out = f"{self.beyond(a, stage, high)} ? {width}'d{high % (1 << width)} : {out}"
                if low > graph.low[a]:
                    out = f"{self.below(a, stage, low)} ? {width}'d{low % (1 << width)} : {out}"
                return out
            case Even(a, of, bits):
                odd = f"{self.part(a, stage, 0, 0)} & |{self.sized(of, stage, bits)}"
                return f"{{{self.above(a, stage, 1, width - 1)}, {odd}}}" if width > 1 else odd
            case AtLeast(a, b):
                wide = max(graph.width(n) + (not graph.signed(n)) for n in (a, b))
                return f"$signed({self.sized(a, stage, wide)}) >= $signed({self.sized(b, stage, wide)})"
            case Choose(where, a, b):
                test = self.at(where, stage)
                chosen = test if graph.width(where) == 1 else f"|{test}"
                return f"{chosen} ? {self.sized(a, stage, width)} : {self.sized(b, stage, width)}"
            case node:
                raise ValueError(f"{node} must be written in another way")

    def adder(self, a: int, up_a: int, b: int, up_b: int, minus: bool, stage: int, width: int) -> str:
        """A sum; the bits that only one operand has are not added."""
        sign = "-" if minus else "+"
        if up_a:  # only of a difference
            wide = max(width, up_a + 1)
            return f"{{{self.sized(a, stage, wide - up_a)}, {up_a}'d0}} - {self.sized(b, stage, wide)}"
        low = min(up_b, width)
        high = width - low
        if not high:
            return self.sized(a, stage, width)
        if not minus and not self.graph.signed(a) and self.graph.width(a) <= low:
            return f"{{{self.sized(b, stage, high)}, {self.sized(a, stage, low)}}}"
        whole = f"{self.above(a, stage, low, high)} {sign} {self.sized(b, stage, high)}"
        return f"{{{whole}, {self.sized(a, stage, low)}}}" if low else whole

    def beyond(self, number: int, stage: int, high: int) -> str:
        """Whether a node is larger than `high`."""
        width, bits = self.graph.width(number), (high + 1).bit_length() - 1
        if high >= 0 and high + 1 == 1 << bits:
            if not self.graph.signed(number):
                return f"(|{self.part(number, stage, width - 1, bits)})"
            sign = self.part(number, stage, width - 1, width - 1)
            return f"(~{sign} & |{self.part(number, stage, width - 2, bits)})"
        return f"({self.compared(number, stage)} > {self.literal(number, high)})"

    def below(self, number: int, stage: int, low: int) -> str:
        """Whether a node is smaller than `low`."""
        width = self.graph.width(number)
        if self.graph.signed(number) and low <= 0 and low & -low == -low:  # 0, or a power of two below it
            sign = self.part(number, stage, width - 1, width - 1)
            if low == 0:
                return f"({sign})"
            return f"({sign} & ~&{self.part(number, stage, width - 2, (-low).bit_length() - 1)})"
        return f"({self.compared(number, stage)} < {self.literal(number, low)})"

    def compared(self, number: int, stage: int) -> str:
        """A node as a signed number."""
        return f"$signed({self.sized(number, stage, self.graph.width(number) + (not self.graph.signed(number)))})"

    def literal(self, number: int, value: int) -> str:
        """An integer as a signed number of as many bits."""
        width = self.graph.width(number) + (not self.graph.signed(number))
        return f"$signed({width}'d{value % (1 << width)})"

    def table(self, number: int, node: Table) -> list[str]:
        """A look-up table for each bit of a result."""
        width, index = self.graph.width(node.a), self.at(node.a, self.pipeline.stage[number])
        lines = []
        for bit in range(self.graph.width(number)):
            ones = sum(
                1 << ((node.first + i) % (1 << width)) for i, entry in enumerate(node.entries) if entry >> bit & 1
            )
            constant = f"{self.names[number]}__b{bit}"
            lines.append(f"localparam [{(1 << width) - 1}:0] {constant} = {1 << width}'h{ones:x};")
            lines.append(f"assign {self.part(number, self.pipeline.stage[number], bit, bit)} = {constant}[{index}];")
        return lines

    def digits(self, number: int, node: Digits) -> tuple[list[str], str]:
        """A register that moves a digit up at each clock: what declares it, and what it takes."""
        stage, name, width = self.pipeline.stage[number] - registers(node), self.names[number], node.bits * node.count
        given = self.sized(node.a, stage, width)
        if node.offset:  # the sign bit turned
            own = self.graph.width(node.a)
            sign = f"~{self.part(node.a, stage, own - 1, own - 1)}"
            given = f"{{{sign}, {self.part(node.a, stage, own - 2, 0)}}}" if own > 1 else sign
            given = f"{{{width - own}'d0, {given}}}" if width > own else given
        wide, top = f"{name}__all", self.graph.width(number)
        first = node.bits * (node.count - 1)
        digit = f"{wide}[{first + top - 1}:{first}]" if top > 1 else f"{wide}[{first}]"
        moved = f"{wide} <= valid[{stage - 1}] ? {given} : {{{wide}[{first - 1}:0], {node.bits}'d0}};"
        return [f"reg  {vector(width)}{wide};", f"wire {vector(top)}{name} = {digit};"], moved

    def accumulator(self, number: int, node: Accumulate) -> tuple[list[str], str]:
        """A register of the digits so far: what declares it, and what it takes.

        The constant's digits come in at the free places, its rest as the first value.
        """
        stage, name, width = self.pipeline.stage[number] - registers(node), self.names[number], self.graph.width(number)
        added = self.sized(node.a, stage, width)
        bits: list[list[str]] = [[] for _ in range(node.bits)]  # of the constant: the clocks in which each is 1
        for clock in range(node.count):
            digit = node.constant >> node.bits * (node.count - 1 - clock)
            for place, clocks in enumerate(bits):
                if digit >> place & 1:
                    clocks.append(f"valid[{stage - 1 + clock}]")
        digits = [" | ".join(clocks) or "1'b0" for clocks in reversed(bits[:width])]
        if kept := max(width - node.bits, 0):
            start = (node.constant >> node.bits * node.count) % (1 << kept)
            digits.insert(0, f"valid[{stage - 1}] ? {kept}'d{start} : {name}[{kept - 1}:0]")
        return [f"reg  {vector(width)}{name};"], f"{name} <= {{{', '.join(digits)}}} + {added};"


def vector(width: int) -> str:
    """Declared range of so many bits."""
    return f"[{width - 1}:0] " if width > 1 else ""


def write(graph: Graph, pipeline: Pipeline, last: int, inputs: list[Port], score: Port, top: str, title: str) -> str:
    """Text of the module of a pipelined graph.

    Parameters
    ----------
    graph, pipeline
        As `pipeline.cut` has them.
    last : int
        Node of the score.
    inputs : list of Port
        One for each column.
    score : Port
    top : str
        Name of the module.
    title : str
        What the first line says.
    """
    writer = _Writer(graph, pipeline, [port.name for port in inputs])
    latency = pipeline.latency_cycles
    logic: dict[int, list[str]] = {}
    declared, moved = [f"reg {vector(latency)}valid;"], list[str]()
    for number in sorted(pipeline.stage):
        node, name = graph.nodes[number], writer.names[number]
        if isinstance(node, Column | Constant):
            continue
        lines = logic.setdefault(pipeline.stage[number], [])
        head = f"wire {vector(graph.width(number))}{name}"
        if isinstance(node, Digits | Accumulate):
            made, takes = writer.digits(number, node) if isinstance(node, Digits) else writer.accumulator(number, node)
            lines += made
            moved.append(takes)
        elif isinstance(node, Table):
            lines += [f"{head};  // {graph.low[number]} .. {graph.high[number]}", *writer.table(number, node)]
        else:
            lines.append(f"{head} = {writer.expression(number)};  // {graph.low[number]} .. {graph.high[number]}")
    result = writer.sized(last, latency - 1, score.width)
    signed = "$signed" if score.signed else "$unsigned"
    for number, waits in sorted(writer.waits.items()):
        name, size = writer.names[number], vector(graph.width(number))
        stages = [name, *(f"{name}__d{i}" for i in range(1, waits + 1))]
        declared += [f"reg {size}{behind};" for behind in stages[1:]]
        moved += [f"{behind} <= {before};" for before, behind in pairwise(stages)]
    ports = [f"input  wire {vector(port.width)}{name}" for port, name in zip(inputs, writer.columns, strict=True)]
    lines = [
        f"// {title}",
        "// Made by l1ad; the ranges behind the wires are proved.  What a cast drops is not used.",
        "/* verilator lint_off UNUSEDSIGNAL */",
        "/* verilator lint_off CMPCONST */  // of a score that is always the same",
        "`default_nettype none",
        f"module {top} (",
        *_indented(
            [
                "input  wire clk,",
                "input  wire rst,",
                "input  wire valid_in,",
                f"input  wire {vector(score.width)}threshold,",
                *(f"{port}," for port in ports),
                "output wire valid_out,",
                f"output reg  {vector(score.width)}score,",
                "output reg  accept",
            ]
        ),
        ");",
        *_indented(declared),
    ]
    for stage, statements in sorted(logic.items()):
        lines += ["", f"    // clock {stage}", *_indented(statements)]
    lines += [
        "",
        "    // registers",
        f"    wire {vector(score.width)}result = {result};",
        f"    assign valid_out = valid{f'[{latency - 1}]' if latency > 1 else ''};",
        "    always @(posedge clk) begin",
        *_indented([*moved, "score <= result;"], 2),
        "        if (rst) begin",
        f"            valid <= {latency}'d0;",
        "            accept <= 1'b0;",
        "        end else begin",
        f"            valid <= {{valid[{latency - 2}:0], valid_in}};",
        f"            accept <= valid[{latency - 2}] & ({signed}(result) >= {signed}(threshold));",
        "        end",
        "    end",
        "endmodule",
        "`default_nettype wire",
        "",
    ]
    return "\n".join(lines)


def _indented(lines: list[str], levels: int = 1) -> list[str]:
    return ["    " * levels + line for line in lines]
