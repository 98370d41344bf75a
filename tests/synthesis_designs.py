"""Pipelines of constant adders, small and large: as Verilog, and as functions of integers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from l1ad.fixed import FixedPoint, Raw
from l1ad.hardware.rtl.design import Design, Port
from l1ad.hardware.synthesis import yosys
from l1ad.hardware.synthesis.yosys import Synthesis

MODULE = """module {top} (input clk, input rst, input valid_in, input signed [{high}:0] threshold,
  {ports},
  output reg valid_out, output reg signed [{high}:0] score, output reg accept);
{body}
  reg [{last}:0] valid;
  always @(posedge clk) begin
    valid <= rst ? 0 : {{valid, valid_in}};
    valid_out <= !rst && valid[{last}];
    score <= {score};
    accept <= !rst && valid[{last}] && {score} >= threshold;
  end
endmodule
"""


@dataclass(frozen=True)
class Node:
    """A wire, its range, and how many adders lie between it and the inputs."""

    name: str
    low: int
    high: int
    depth: int

    @property
    def width(self) -> int:
        return FixedPoint.holding(min(self.low, -1), self.high, 0).width


class Pipeline:
    """Wires in stages of `adders` adders; a value that is needed later passes registers."""

    def __init__(self, n_inputs: int, width: int, adders: int) -> None:
        self.adders, self.lines, self.late = adders, list[str](), dict[tuple[str, int], str]()
        self.ports = tuple(Port(f"x{i}", width, True) for i in range(n_inputs))
        half = 1 << (width - 1)
        self.inputs = [Node(self.register(port.name, width), -half, half - 1, 0) for port in self.ports]

    def register(self, name: str, width: int) -> str:
        new = f"r{len(self.lines)}"
        self.lines.append(f"  reg signed [{width - 1}:0] {new}; always @(posedge clk) {new} <= {name};")
        return new

    def wire(self, low: int, high: int, depth: int, text: str) -> Node:
        new = Node(f"s{len(self.lines)}", low, high, depth)
        self.lines.append(f"  wire signed [{new.width - 1}:0] {new.name} = {text};")
        return new

    def stage(self, depth: int) -> int:
        return max(depth - 1, 0) // self.adders

    def at(self, node: Node, depth: int) -> str:
        """Name of a node's value in the stage of a deeper one."""
        name = node.name
        for stage in range(self.stage(node.depth), self.stage(depth)):
            key = (node.name, stage)
            if key not in self.late:
                self.late[key] = self.register(name, node.width)
            name = self.late[key]
        return name

    def sum(self, terms: list[tuple[Node, int, int]]) -> Node:
        """Sum of ``sign * node * 2**up`` over (node, up, sign), one of which is positive."""
        terms = sorted(terms, key=lambda term: term[0].depth)
        while len(terms) > 1:
            # the positive one first, so that the last is
            (a, up_a, sign_a), (b, up_b, sign_b) = sorted(terms[:2], key=lambda term: -term[2])
            ends = [sign_a * sign_b * (end << up_b) for end in (b.low, b.high)]
            low, high, depth = (a.low << up_a) + min(ends), (a.high << up_a) + max(ends), max(a.depth, b.depth) + 1
            # of the sum's width first, then up
            x, y = (self.wire(low, high, 0, self.at(node, depth)).name for node in (a, b))
            new = self.wire(low, high, depth, f"({x} <<< {up_a}) {'+' if sign_a == sign_b else '-'} ({y} <<< {up_b})")
            terms = [*terms[2:], (new, 0, sign_a)]
        return terms[0][0]

    def clipped(self, node: Node, down: int, high: int) -> Node:
        """``floor(node / 2**down)``, between 0 and `high`."""
        name = self.wire(node.low >> down, node.high >> down, node.depth, f"{node.name} >>> {down}").name
        return self.wire(0, high, node.depth, f"{name} < 0 ? 0 : {name} > {high} ? {high} : {name}")

    def design(self, score: Node) -> Design:
        """Module with that score, compared, and ``valid`` beside it."""
        stages = self.stage(score.depth)
        ports = ", ".join(f"input signed [{port.width - 1}:0] {port.name}" for port in self.ports)
        text = MODULE.format(
            top="scorer",
            high=score.width - 1,
            ports=ports,
            body="\n".join(self.lines),
            last=stages,
            score=score.name,
        )
        port = Port("score", score.width, True)
        return Design("scorer", "0" * 64, self.ports, port, 5.0, stages + 2, 1, {"scorer.v": text})


def dense(sizes: tuple[int, ...], adders: int, seed: int = 0) -> tuple[Design, Callable[[Raw], Raw]]:
    """Dense layers of 6-bit weights, half of them 0, each cut to 0..255, and the sum of the last; `adders` a stage.

    Returns
    -------
    Design, and the function that it computes: int64 arrays (n_events, n_inputs) to (n_events,)
    """
    rng = np.random.default_rng(seed)
    pipeline = Pipeline(sizes[0], 8, adders)
    nodes, weights = pipeline.inputs, []
    for n, m in pairwise(sizes):
        weight = rng.integers(-31, 32, (n, m)) * (rng.random((n, m)) < 0.5)
        weight[rng.integers(n), :] = 1
        weights.append(weight)
        columns = [
            [(node, up, sign) for node, w in zip(nodes, column, strict=True) for up, sign in digits(w)]
            for column in weight.T.tolist()
        ]
        nodes = [pipeline.clipped(pipeline.sum(terms), 5, 255) for terms in columns]

    def compute(x: Raw) -> Raw:
        for weight in weights:
            x = np.clip(x @ weight >> 5, 0, 255)
        return x.sum(axis=1)

    return pipeline.design(pipeline.sum([(node, 0, 1) for node in nodes])), compute


def digits(weight: int) -> list[tuple[int, int]]:
    """Bits of a weight's magnitude, each with its sign."""
    sign = -1 if weight < 0 else 1
    return [(up, sign) for up in range(abs(weight).bit_length()) if abs(weight) >> up & 1]


def written(
    body: str, inputs: dict[str, int], score: int, latency: int, wires: str = "reg", top: str = "scorer"
) -> Design:
    """A hand-written module: signed `inputs` by width, signed score of `score` bits."""
    ports = "".join(f"input signed [{width - 1}:0] {name}, " for name, width in inputs.items())
    text = (
        f"module {top} (input clk, input rst, input valid_in, input signed [{score - 1}:0] threshold, {ports}\n"
        f"  output {wires} valid_out, output {wires} signed [{score - 1}:0] score, output {wires} accept);\n"
        f"{body}\nendmodule\n"
    )
    columns = tuple(Port(name, width, True) for name, width in inputs.items())
    return Design(top, "0" * 64, columns, Port("score", score, True), 5.0, latency, 1, {f"{top}.v": text})


def synthesised(folder: Path, design: Design, *, fast: bool) -> Synthesis:
    """`synthesise` with its cache in a folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yosys, "cache_folder", lambda: folder)
        return yosys.synthesise(design, fast=fast)
