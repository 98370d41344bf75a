"""What the C++ of an hls4ml project declares, each thing with its place.

`project.read` fills these in; the C simulation of a project and its translation to a `Network` start from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from l1ad.fixed import FixedPoint


@dataclass(frozen=True)
class Place:
    """A line of a file; prints as ``firmware/defines.h:12``.

    Parameters
    ----------
    file : str
        Path relative to the project's folder, with forward slashes.
    line : int
        From 1.
    """

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Variable:
    """An array of one type: a port of the top function, or the result of a layer.

    Parameters
    ----------
    name : str
    type_name : str
        As written: a typedef's name.
    type : FixedPoint
        What the name stands for.
    size : int
        Number of elements; of an array of several dimensions, their product.
    place : Place
    """

    name: str
    type_name: str
    type: FixedPoint
    size: int
    place: Place


@dataclass(frozen=True)
class Call:
    """A layer: ``namespace::function<template...>(arguments...); // label``.

    Parameters
    ----------
    function : str
        With its namespace, ``nnet::dense``.
    template, arguments : tuple of str
        As written, without spaces at the ends.
    label : str
        The comment behind it, which holds the layer's name; may be empty.
    place : Place
    """

    function: str
    template: tuple[str, ...]
    arguments: tuple[str, ...]
    label: str
    place: Place


@dataclass(frozen=True)
class Constants:
    """An array of weights, as C simulation sees it.

    Parameters
    ----------
    name : str
    type : FixedPoint
    literals : tuple of float
        As written: a literal is a C++ double, and may be off the grid of the type.
    place : Place
        Of the values: the header's array, or the text file that is loaded.
    """

    name: str
    type: FixedPoint
    literals: tuple[float, ...]
    place: Place


@dataclass(frozen=True)
class Config:
    """``struct config2 : nnet::dense_config {...}``.

    Parameters
    ----------
    name, kind : str
        Of the struct, and of what it derives from, without namespace (``dense_config``).
    constants : mapping of str to int
        ``static const`` members that are integers or bools; those that cannot be evaluated are left out.
    floats : mapping of str to float
        Those that are other numbers.
    names : mapping of str to str
        Members that are names, without namespace: ``strategy`` -> ``latency``, ``implementation`` -> ``linebuffer``;
        and ``using`` or ``typedef`` members whose right side is no AP type, such as ``mult_config`` ->
        ``config3_mult``, ``product`` -> ``mult``, ``kernel`` -> ``DenseLatency``.
    types : mapping of str to FixedPoint
        Each ``typedef``: ``accum_t``, ``weight_t`` ...
    place : Place
    """

    name: str
    kind: str
    constants: Mapping[str, int]
    floats: Mapping[str, float]
    names: Mapping[str, str]
    types: Mapping[str, FixedPoint]
    place: Place


@dataclass(frozen=True)
class Project:
    """A generated project, read.

    Parameters
    ----------
    folder : Path
    source : Path
        The top function's .cpp, absolute.
    top, namespace : str
        Name of the top function, and the namespace around it (empty if none).
    input, output : Variable
        Ports of the top function.
    variables : mapping of str to Variable
        Arrays declared in the top function, ports included.
    aliases : mapping of str to str
        ``auto& x = y``: x -> y.
    calls : tuple of Call
        Layers in their order; loading of weights is not among them.
    types : mapping of str to FixedPoint
        Every typedef of an AP type.
    weights : mapping of str to Constants
    configs : mapping of str to Config
    functions : mapping of str to tuple of (str, Place)
        Bodies of generated functions (``dense_da_3``), one statement an entry, for shift-add code.
    """

    folder: Path
    source: Path
    top: str
    namespace: str
    input: Variable
    output: Variable
    variables: Mapping[str, Variable]
    aliases: Mapping[str, str]
    calls: tuple[Call, ...]
    types: Mapping[str, FixedPoint]
    weights: Mapping[str, Constants]
    configs: Mapping[str, Config]
    functions: Mapping[str, tuple[tuple[str, Place], ...]]
