"""A netlist as Yosys writes it in JSON: cells of a device's library and the nets between them."""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from l1ad.errors import UnsupportedError

CLOCK = {"C", "CLK"}
"""Pins of registers that the clock goes to."""
REGISTERS = {"FDRE", "FDSE", "FDCE", "FDPE", "SRL16E", "SRLC32E"}
LUTS = {"INV", *(f"LUT{size}" for size in range(1, 7))}
"""An inverter that is left takes a LUT."""
CARRIES = {"CARRY4"}
WIDE = {"MUXF7", "MUXF8", "MUXF9"}
LOGIC = LUTS | CARRIES | WIDE
"""Cells whose outputs follow their inputs at once."""


@dataclass(frozen=True, slots=True)
class Cell:
    """An instance of a library cell.

    Parameters
    ----------
    name : str
    kind : str
        Such as ``LUT6``.
    parameters : mapping of str to str
        Bits from the most significant, or text.
    inputs, outputs : mapping of str to tuple of int
        Nets at each pin, from the least significant.
    """

    name: str
    kind: str
    parameters: Mapping[str, str]
    inputs: Mapping[str, tuple[int, ...]]
    outputs: Mapping[str, tuple[int, ...]]

    def driven(self) -> Iterator[int]:
        """Nets at its outputs."""
        for nets in self.outputs.values():
            yield from nets

    def read(self) -> Iterator[int]:
        """Nets at its inputs, constants and the clock left out."""
        for pin, nets in self.inputs.items():
            if pin not in CLOCK:
                yield from (net for net in nets if net > 1)

    def __str__(self) -> str:
        return f"cell {self.name!r} ({self.kind})"


@dataclass(frozen=True)
class Netlist:
    """A flat module.

    A net is a number: 0 and 1 are the constants, the others are as in the file.  A bit that the file leaves open
    (``x``) is 0.

    Parameters
    ----------
    source : str
        The file, for error texts.
    top : str
    inputs, outputs : mapping of str to tuple of int
        Nets of each port, from the least significant.
    cells : tuple of Cell
    names : mapping of int to str
        What the Verilog calls a net, such as ``sum_3[4]``, where it has a name.
    """

    source: str
    top: str
    inputs: Mapping[str, tuple[int, ...]]
    outputs: Mapping[str, tuple[int, ...]]
    cells: tuple[Cell, ...]
    names: Mapping[int, str]

    def counts(self) -> dict[str, int]:
        """Cells by kind."""
        return dict(sorted(Counter(cell.kind for cell in self.cells).items()))

    def net(self, number: int) -> str:
        """What to call a net: its name, or that of the cell which drives it."""
        if number in self.names:
            return self.names[number]
        cell = self.driver.get(number)
        return cell.name if cell else f"net {number}"

    @cached_property
    def size(self) -> int:
        """One more than the highest net."""
        ports = (*self.inputs.values(), *self.outputs.values())
        pins = (nets for cell in self.cells for nets in (*cell.inputs.values(), *cell.outputs.values()))
        return 1 + max(net for nets in ((1,), *ports, *pins) for net in nets)

    @cached_property
    def driver(self) -> dict[int, Cell]:
        """The cell that drives a net."""
        return {net: cell for cell in self.cells for net in cell.driven()}

    @cached_property
    def logic(self) -> tuple[Cell, ...]:
        """Cells that are no registers, each after those that drive it.

        Raises
        ------
        UnsupportedError
            If a cell is not known, or drives itself; the text names it.
        """
        for cell in self.cells:
            if cell.kind not in LOGIC | REGISTERS:
                raise UnsupportedError(f"{self.source}: {cell} is not modelled; synthesise with LUTs only")
        return self.sort(cell for cell in self.cells if cell.kind in LOGIC)

    def sort(self, cells: Iterable[Cell]) -> tuple[Cell, ...]:
        """`cells`, each after those of them that drive it.

        Raises
        ------
        UnsupportedError
            If one drives itself.
        """
        chosen = tuple(cells)
        maker = {net: number for number, cell in enumerate(chosen) for net in cell.driven()}
        users: list[list[int]] = [[] for _ in chosen]
        waits = [0] * len(chosen)
        for number, cell in enumerate(chosen):
            for source in {maker[net] for net in cell.read() if net in maker}:
                users[source].append(number)
                waits[number] += 1
        ready = deque(number for number, wait in enumerate(waits) if not wait)
        order = []
        while ready:
            number = ready.popleft()
            order.append(chosen[number])
            for user in users[number]:
                waits[user] -= 1
                if not waits[user]:
                    ready.append(user)
        if len(order) < len(chosen):
            stuck = next(chosen[number] for number, wait in enumerate(waits) if wait)
            raise UnsupportedError(f"{self.source}: {stuck} must not depend on its own output")
        return tuple(order)

    def levels(self) -> int:
        """Most LUTs that a signal passes from register to register; carry cells and wide multiplexers not counted."""
        level = {0: 0, 1: 0}
        for cell in self.logic:
            deepest = max((level.get(net, 0) for net in cell.read()), default=0) + (cell.kind in LUTS)
            level.update(dict.fromkeys(cell.driven(), deepest))
        return max(level.values())


def read(path: str | Path, top: str) -> Netlist:
    """Netlist of module `top`.

    Raises
    ------
    ValueError
        If the file is not whole, or is something else; the text names it.
    """
    try:
        text = Path(path).read_text("utf-8")
        module = json.loads(text)["modules"][top]
        ports, found, wires = module["ports"], module["cells"], module["netnames"]
        cells = tuple(_cell(name, cell) for name, cell in found.items() if cell["type"] != "$scopeinfo")
        sides = {
            side: {name: _nets(port["bits"]) for name, port in ports.items() if port["direction"] == side}
            for side in ("input", "output")
        }
        names: dict[int, str] = {}
        for name, wire in wires.items():
            if not wire["hide_name"]:
                for index, net in enumerate(_nets(wire["bits"])):
                    names.setdefault(net, f"{name}[{index}]" if len(wire["bits"]) > 1 else name)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"{type(error).__name__}: {error}"
        raise ValueError(f"{path}: not a whole netlist of {top!r} by Yosys ({what}); synthesise again") from error
    return Netlist(str(path), top, sides["input"], sides["output"], cells, names)


def _cell(name: str, cell: dict[str, dict[str, list[int | str]]]) -> Cell:
    pins: dict[str, dict[str, tuple[int, ...]]] = {"input": {}, "output": {}}
    for pin, bits in cell["connections"].items():
        pins[str(cell["port_directions"][pin])][pin] = _nets(bits)
    parameters = {key: str(value) for key, value in cell.get("parameters", {}).items()}
    return Cell(name, str(cell["type"]), parameters, pins["input"], pins["output"])


def _nets(bits: list[int | str]) -> tuple[int, ...]:
    return tuple({"0": 0, "1": 1, "x": 0}[bit] if isinstance(bit, str) else bit for bit in bits)
