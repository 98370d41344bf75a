"""What a register-transfer-level design of a network is: Verilog, its ports and its timing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from l1ad.files import digest, write_text


@dataclass(frozen=True)
class Port:
    """A port that carries an integer.

    Parameters
    ----------
    name : str
        A Verilog and VHDL identifier.
    width : int
        Bits.
    signed : bool
        Whether the integer is in two's complement.
    """

    name: str
    width: int
    signed: bool


@dataclass(frozen=True)
class Design:
    """A pipelined module that scores one event in so many clocks.

    Its ports: ``clk``; ``rst`` (synchronous, active high: forgets which events are on the way); ``valid_in``;
    ``threshold`` (as wide and as signed as the score); one for each of `inputs`; ``valid_out``, ``score``, ``accept``
    (1 where score >= threshold, never without ``valid_out``).

    Inputs that are stable at rising edge k give outputs that are stable at rising edge k + `latency_cycles`: so many
    registers lie between them, the first at the inputs and the last at the outputs.  ``threshold`` is compared where
    the score is made; it is to be kept still.

    Parameters
    ----------
    top : str
        Name of the module.
    network : str
        Digest of the network that it computes.
    inputs : tuple of Port
        One for each column of the network, in order; raw trigger integers.
    score : Port
        The raw score.
    clock_ns : float
        Period that the pipeline was cut for; no tool has confirmed it.
    latency_cycles : int
    interval_cycles : int
        Clocks from an event to the next, at least; one that comes sooner spoils both.
    files : mapping of str to str
        Text of each Verilog file by name.
    """

    top: str
    network: str
    inputs: tuple[Port, ...]
    score: Port
    clock_ns: float
    latency_cycles: int
    interval_cycles: int
    files: Mapping[str, str]

    def digest(self) -> str:
        """SHA-256 of all that a tool sees."""
        return digest([self.top, dict(self.files)])

    def write(self, folder: str | Path) -> list[Path]:
        """Write the Verilog files; returns their paths."""
        paths = []
        for name, text in self.files.items():
            paths.append(Path(folder, name))
            write_text(paths[-1], text)
        return paths
