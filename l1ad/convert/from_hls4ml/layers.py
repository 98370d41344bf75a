"""Layers of an hls4ml project as operations, each computing what the C++ of ``nnet_utils`` computes.

A dense layer casts each product, and the bias, to its accumulator's type and sums there; the sum is then cast to the
type of the result.  Accumulators that wrap are exact modulo their range, in any order; one that saturates depends on
the order of the sum, and is read only where it provably never does.

Source: ``nnet_dense_latency.h``, ``nnet_dense_resource.h``, ``nnet_conv2d_*.h``, ``nnet_batchnorm.h``,
``nnet_activation.h``, ``nnet_merge.h`` of hls4ml 0.6 to 1.3.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from l1ad.convert.from_hls4ml.declarations import Call, Config, Constants, Place, Project, Variable
from l1ad.convert.from_hls4ml.shift_add import dense_weights
from l1ad.convert.from_hls4ml.tables import activation_table, address_type, doubtful, softmax_table, top_bits
from l1ad.errors import UnsupportedError
from l1ad.fixed import FixedPoint, Raw, cast, from_float
from l1ad.network import Flow, flow
from l1ad.operations import Affine, Cast, Convolution, Dense, Dot, Lookup, Mask, Merge, Operation


class Program:
    """Operations so far, and which of them fills each array of the C++.

    Parameters
    ----------
    project : Project
    start : tuple of Operation
        From the trigger to the argument of the top function.
    """

    def __init__(self, project: Project, start: tuple[Operation, ...]) -> None:
        self.project = project
        self.operations: dict[str, Operation] = {}
        self.flows: dict[str, Flow] = {}
        self.results: dict[str, str] = {}
        self.filled: list[tuple[str, Place]] = []
        self.notes: list[str] = []
        for operation in start:
            self.add(operation)
        self.results[project.input.name] = start[-1].name

    def add(self, operation: Operation) -> str:
        """Append an operation; return its name."""
        if operation.name in self.operations:
            raise ValueError(f"operation {operation.name!r} must be one, and is there already; rename the layer")
        self.flows[operation.name] = flow(operation, self.operations, self.flows)
        self.operations[operation.name] = operation
        return operation.name

    def free(self, name: str) -> str:
        """`name`, or the like of it that no operation has."""
        while name in self.operations:
            name += "_"
        return name

    def read(self) -> None:
        """Append every layer of the project."""
        for call in self.project.calls:
            try:
                self._layer(call)
            except (ValueError, KeyError, IndexError) as error:
                raise ValueError(f"{call.place}: {call.function}: {error}") from error

    def raw(self, constants: Constants) -> Raw:
        """Weights as C++ casts them to their type; what it had to round is noted."""
        raw = from_float(constants.literals, constants.type)
        off = int((raw * constants.type.lsb != np.array(constants.literals)).sum())
        if off:
            self.notes.append(
                f"{constants.place}: {off} of {len(raw)} literals of {constants.name!r} are off the grid of "
                f"{constants.type}, and rounded or wrapped by it"
            )
        return raw

    def _layer(self, call: Call) -> None:
        arrays = list(call.arguments)
        while any(name in self.project.aliases for name in arrays):
            arrays = [self.project.aliases.get(name, name) for name in arrays]
        target = self._target(arrays)
        name, x, out = self._name(call, target), self._operand(arrays[0]), target.type
        match call.function.removeprefix("nnet::"):
            case "dense":
                self._dense(name, x, out, self._config(call), arrays[2:], call.place)
            case "conv_2d_cl" | "pointwise_conv_2d_cl" | "conv_1d_cl" | "pointwise_conv_1d_cl":
                self._convolution(name, x, out, self._config(call), arrays[2:], call.place)
            case "normalize":
                self._normalise(name, x, out, self._config(call), arrays[2:], call.place)
            case "linear":
                self.add(Cast(name, x, out))
            case "relu":
                self._relu(name, x, out)
            case "thresholded_relu":  # what hls4ml 1.3 makes of Keras's layer ReLU, with the threshold 0
                if float(call.arguments[1]) != 0:
                    raise UnsupportedError(f"{call.place}: threshold of a ReLU must be 0, not {call.arguments[1]}")
                self._relu(name, x, out)
            case "relu1" | "relu6" as function:
                self._relu_max(name, x, int(function[-1]), out)
            case "relu_max":
                self._relu_max(name, x, int(call.template[2]), out)
            case "leaky_relu":
                self._leaky_relu(name, x, call, out)
            case "sigmoid" | "tanh" as function:
                self._activation(name, x, function, self._config(call), out)
            case "softmax":
                self._softmax(name, x, out, self._config(call), call.place)
            case "unary_lut":
                self._table(name, x, self._constants(arrays[2]), out)
            case "add" | "subtract" | "multiply" | "maximum" | "minimum" | "average" as how:
                self._merge(name, how, x, self._operand(arrays[1]), out)
            case "global_pooling1d_cl":
                self._average_pool(name, x, out, self._config(call), call.place)
            case "dot1d":
                self._dot(name, x, self._operand(arrays[1]), out, self._config(call), call.place)
            case "mask":
                self.add(Mask(name, x, self._operand(arrays[1]), self.raw(self._constants(arrays[3])), out))
            case function if (body := function.rpartition("::")[2]).startswith("dense_da_"):
                if body not in self.project.functions:
                    raise ValueError(f"function {body!r} must be in nnet_code_gen.h")
                source = self.operations[x].out
                weights = dense_weights(self.project.functions[body], source, self.flows[x].size, target.size)
                self.add(Dense(name, x, *weights, None, out))
            case function:
                raise UnsupportedError(f"{call.place}: layer {function!r} is not read; rebuild the model without it")
        self.results[target.name] = name
        self.filled.append((target.name, call.place))
        if self.flows[name].size != target.size:
            raise ValueError(f"{target.name!r} must have {self.flows[name].size} elements, not {target.size}")

    def _target(self, arrays: list[str]) -> Variable:
        """The array that a call fills: the last of its arguments that is one, and is not filled yet."""
        for name in arrays:
            if name in self.project.variables and name not in self.results:
                return self.project.variables[name]
        raise ValueError("layer must fill an array that no other fills")

    def _name(self, call: Call, target: Variable) -> str:
        label = call.label.split()[0] if call.label else ""
        return label if label.isidentifier() and label not in self.operations else self.free(target.name)

    def _operand(self, array: str) -> str:
        if array not in self.results:
            raise ValueError(f"{array!r} is read before it is filled")
        return self.results[array]

    def _constants(self, array: str) -> Constants:
        if array not in self.project.weights:
            raise ValueError(f"weights {array!r} must be declared")
        return self.project.weights[array]

    def _config(self, call: Call) -> Config:
        return self._named_config(call.template[-1])

    def _named_config(self, name: str) -> Config:
        if name not in self.project.configs:
            raise ValueError(f"struct {name!r} must be declared in parameters.h")
        return self.project.configs[name]

    def _dense(self, name: str, x: str, out: FixedPoint, config: Config, arrays: list[str], place: Place) -> None:
        shape = _constant(config, "n_in"), _constant(config, "n_out")
        weight, weight_type = self._weights(arrays[0], config, x, place)
        weight = weight.reshape(shape[::-1]).T if _transposed(config, place) else weight.reshape(shape)
        bias, bias_type, product, accumulator = self._accumulator(arrays[1], weight_type, x, config)

        def dense(name: str, out: FixedPoint) -> Dense:
            return Dense(name, x, weight, weight_type, bias, bias_type, product, out)

        self._summed(name, dense, accumulator, out, place)

    def _convolution(self, name: str, x: str, out: FixedPoint, config: Config, arrays: list[str], place: Place) -> None:
        flat = config.kind == "conv1d_config"  # an image of height 1
        if any(config.constants.get(f"dilation_{axis}", 1) != 1 for axis in ("height", "width")):
            raise UnsupportedError(f"{config.place}: struct {config.name!r} must have dilation 1")

        def both(prefix: str) -> tuple[int, int]:
            return 1 if flat else _constant(config, f"{prefix}_height"), _constant(config, f"{prefix}_width")

        channels, filters = _constant(config, "n_chan"), _constant(config, "n_filt")
        kernel = *both("filt"), channels, filters
        padding = (*((0, 0) if flat else (_constant(config, "pad_top"), _constant(config, "pad_bottom"))),
                   _constant(config, "pad_left"), _constant(config, "pad_right"))  # fmt: skip
        multiplier = self._named_config(config.names.get("mult_config", config.name))
        weight, weight_type = self._weights(arrays[0], multiplier, x, place)
        if _transposed(config if "strategy" in config.names else multiplier, place):
            weight = weight.reshape(filters, -1).T
            _check_reuse(config.constants.get("reuse_factor", 1), *weight.shape, place)
        weight = weight.reshape(kernel)
        bias, bias_type, product, accumulator = self._accumulator(arrays[1], weight_type, x, config)
        strides = both("stride")
        shape = *both("in"), channels

        def convolution(name: str, out: FixedPoint) -> Convolution:
            return Convolution(name, x, shape, weight, weight_type, bias, bias_type, strides, padding, product, out)

        self._summed(name, convolution, accumulator, out, place)

    def _dot(self, name: str, x: str, y: str, out: FixedPoint, config: Config, place: Place) -> None:
        _product_of(config, place)
        accumulator = _type(config, "accum_t")
        loses = self.operations[x].out.frac + self.operations[y].out.frac > accumulator.frac

        def dot(name: str, out: FixedPoint) -> Dot:
            return Dot(name, x, y, accumulator if loses else None, out)

        self._summed(name, dot, accumulator, out, place)

    def _weights(self, array: str, config: Config, x: str, place: Place) -> tuple[Raw, FixedPoint]:
        """Weights in their order in the array, as what they multiply by."""
        constants = self._constants(array)
        raw, kind = self.raw(constants), constants.type
        match _product_of(config, place):
            case "weight_binary":  # 0 stands for -1
                return 2 * raw - 1, FixedPoint(2, 0)
            case "weight_ternary" if not np.isin(raw, (-1, 0, 1)).all():
                raise UnsupportedError(f"{constants.place}: ternary weights {array!r} must be -1, 0 or 1")
            case "mult" | "weight_ternary":
                source = self.operations[x].out
                if source.width == 1 and not source.signed and (kind.width, kind.signed) == (1, False):
                    raise UnsupportedError(f"{place}: layers of one-bit data and one-bit weights are not read")
                return raw, kind.bare
        raise UnsupportedError(f"{place}: product must be of numbers of more than one bit")

    def _accumulator(
        self, array: str, weight_type: FixedPoint, x: str, config: Config
    ) -> tuple[Raw, FixedPoint, FixedPoint | None, FixedPoint]:
        """Bias and its type as the accumulator starts with them, type of the products if it loses bits, accumulator."""
        constants, accumulator = self._constants(array), _type(config, "accum_t")
        loses = self.operations[x].out.frac + weight_type.frac > accumulator.frac
        start = cast(self.raw(constants), constants.type.frac, accumulator)
        return start, accumulator.bare, accumulator if loses else None, accumulator

    def _summed(
        self,
        name: str,
        make: Callable[[str, FixedPoint], Dense | Convolution | Dot],
        accumulator: FixedPoint,
        out: FixedPoint,
        place: Place,
    ) -> None:
        """Append a sum, and the cast of its accumulator to the result."""
        needed = flow(make(name, out), self.operations, self.flows).accumulator
        up = 2 ** max(accumulator.frac - needed.frac, 0)
        if accumulator.min_raw <= needed.min_raw * up and needed.max_raw * up <= accumulator.max_raw:
            self.add(make(name, out))
        elif accumulator.overflow != "WRAP" and (needed.signed or accumulator.overflow == "SAT_ZERO"):
            # terms that are never negative only add up: once saturated, always saturated
            raise UnsupportedError(
                f"{place}: accumulator {accumulator} may saturate, which depends on the order of its sum; "
                f"widen it to hold {needed}, or let it wrap"
            )
        elif accumulator.bare == out.bare:
            self.add(make(name, accumulator))
        else:
            self.add(Cast(name, self.add(make(f"{name}_accum", accumulator)), out))

    def _normalise(self, name: str, x: str, out: FixedPoint, config: Config, arrays: list[str], place: Place) -> None:
        if _product_of(config, place) != "mult":
            raise UnsupportedError(f"{place}: normalize must multiply, not {config.names['product']!r}")
        scale, bias = (self._constants(array) for array in arrays)
        copies = self.flows[x].size // len(scale.literals)  # one for each pixel of an image
        numbers = [np.tile(self.raw(constants), copies) for constants in (scale, bias)]
        self.add(Affine(name, x, numbers[0], scale.type.bare, numbers[1], bias.type.bare, out))

    def _relu(self, name: str, x: str, out: FixedPoint) -> None:
        if out.signed or out.overflow == "WRAP":
            x = self._positive(f"{name}_positive", x)
        self.add(Cast(name, x, out))

    def _positive(self, name: str, x: str) -> str:
        source = self.operations[x].out
        width = max(source.width - source.signed, 1)
        return self.add(Cast(name, x, FixedPoint(width, source.frac, False, "TRN", "SAT")))

    def _relu_max(self, name: str, x: str, most: int, out: FixedPoint) -> None:
        positive = self._positive(f"{name}_positive", x)
        zero = np.zeros(self.flows[x].size, np.int64)
        kind = FixedPoint.holding(0, most, 0)
        constant = Affine(f"{name}_most", x, zero, FixedPoint(1, 0), zero + most, kind, kind)
        self.add(Merge(name, "minimum", positive, self.add(constant), out))

    def _leaky_relu(self, name: str, x: str, call: Call, out: FixedPoint) -> None:
        kind = self.project.types.get(call.template[1]) or FixedPoint.parse(call.template[1])
        alpha = int(from_float(float(call.arguments[1]), kind))
        if not 0 <= alpha * kind.lsb <= 1:
            raise UnsupportedError(f"{call.place}: slope of leaky_relu must be between 0 and 1, not {alpha * kind.lsb}")
        source, zero = self.operations[x].out, np.zeros(self.flows[x].size, np.int64)
        wide = FixedPoint(source.width + kind.width, source.frac + kind.frac)
        sloped = Affine(f"{name}_sloped", x, zero + alpha, kind.bare, zero, FixedPoint(1, 0), wide)
        self.add(Merge(name, "maximum", x, self.add(sloped), out))

    def _activation(self, name: str, x: str, function: str, config: Config, out: FixedPoint) -> None:
        size = _constant(config, "table_size")
        address = self.add(Cast(f"{name}_address", x, address_type(function, size)))
        table_type = _type(config, "table_t")
        self.add(Lookup(name, address, activation_table(function, size, table_type, out), out))
        unsure = int(doubtful(function, size, table_type).sum())
        if unsure:
            self.notes.append(
                f"{config.place}: {unsure} of {size} entries of the table of {function} are so close to a step of "
                f"{table_type} that they depend on the C library; compare with the C simulation"
            )

    def _softmax(self, name: str, x: str, out: FixedPoint, config: Config, place: Place) -> None:
        """Exponentials and the inverse of their sum by tables, whose addresses are the top bits of their inputs."""
        implementation, n = config.names.get("implementation"), self.flows[x].size
        if (
            implementation not in ("stable", "latency")
            or config.constants.get("n_slice") != n
            or "inv_inp_t" not in config.types
        ):
            raise UnsupportedError(
                f"{place}: softmax must be 'stable' or 'latency', over all elements, as hls4ml 1.2 or 1.3 writes it"
            )
        scale, accumulator, inverse = (
            config.floats.get("exp_scale", 1.0),
            _type(config, "accum_t"),
            _type(config, "inv_inp_t"),
        )
        given = self.operations[x].out
        if implementation == "stable":
            most = self._spread(f"{name}_most", self._most(name, x), n)
            given, scale = _type(config, "inp_norm_t"), -scale
            x = self.add(Merge(f"{name}_below", "subtract", most, x, given))
        address = top_bits(given, _constant(config, "exp_table_size"))
        table = softmax_table("exp", address, scale, _type(config, "exp_table_t"), accumulator)
        x = self.add(Lookup(f"{name}_exp", self.add(Cast(f"{name}_address", x, address)), table, accumulator))
        ones, one, zero = np.ones((n, 1), np.int64), FixedPoint(1, 0, False), np.zeros(1, np.int64)
        total, exponentials = f"{name}_total", x

        def dense(name: str, out: FixedPoint) -> Dense:
            return Dense(name, exponentials, ones, one, zero, one, None, out)

        self._summed(total, dense, accumulator, inverse, place)
        address = top_bits(inverse, _constant(config, "inv_table_size"))
        kind = _type(config, "inv_table_t")
        table = softmax_table("inverse", address, 1.0, kind, kind)
        factor = self.add(Lookup(f"{name}_factor", self.add(Cast(f"{name}_sum", total, address)), table, kind))
        self.add(Merge(name, "multiply", x, self._spread(f"{name}_factors", factor, n), out))

    def _spread(self, name: str, x: str, n: int) -> str:
        """One element, `n` times."""
        out, one = self.operations[x].out, FixedPoint(1, 0, False)
        zero = np.zeros(n, np.int64)
        return self.add(Dense(name, x, np.ones((1, n), np.int64), one, zero, one, None, out))

    def _most(self, name: str, x: str) -> str:
        """The largest element."""
        out, one, n = self.operations[x].out, FixedPoint(1, 0, False), self.flows[x].size
        each = [
            Dense(f"{name}_{i}", x, np.eye(n, dtype=np.int64)[:, [i]], one, np.zeros(1, np.int64), one, None, out)
            for i in range(n)
        ]
        most = self.add(each[0])
        for i in range(1, n):
            most = self.add(Merge(f"{name}_most_{i}", "maximum", most, self.add(each[i]), out))
        return most

    def _table(self, name: str, x: str, table: Constants, out: FixedPoint) -> None:
        source = self.operations[x].out
        numbers = np.arange(source.min_raw, source.max_raw + 1)  # stand in the table by their bits
        entries = cast(self.raw(table), table.type.frac, out)
        if len(entries) != 1 << source.width:
            raise ValueError(
                f"table must have {1 << source.width} entries, one for each of {source}, not {len(entries)}"
            )
        self.add(Lookup(name, x, entries[numbers], out))

    def _average_pool(self, name: str, x: str, out: FixedPoint, config: Config, place: Place) -> None:
        """Mean over the positions, channel by channel: a sum, and a table of what division makes of it."""
        positions, channels = _constant(config, "n_in"), _constant(config, "n_filt")
        source = self.operations[x].out
        accumulator, mean = self._mean_types(source, positions, config, place)
        loses = source.frac > accumulator.frac
        if config.names.get("pool_op") != "Average" or (loses and accumulator.rounding != "TRN"):
            raise UnsupportedError(f"{place}: pooling must average, in an accumulator that truncates or keeps all bits")
        weight = np.tile(np.eye(channels, dtype=np.int64), (positions, 1))
        one, zero = FixedPoint(1, 0, False), np.zeros(channels, np.int64)

        def dense(name: str, out: FixedPoint) -> Dense:
            return Dense(name, x, weight, one, zero, one, accumulator if loses else None, out)

        self._summed(f"{name}_sum", dense, accumulator, accumulator, place)
        raw = np.arange(accumulator.min_raw, accumulator.max_raw + 1)
        quotient = np.sign(raw) * (np.abs(raw) // positions)  # C++ divides towards 0
        table = cast(cast(quotient, accumulator.frac, mean), mean.frac, out)
        self.add(Lookup(name, f"{name}_sum", table, out))

    def _mean_types(
        self, source: FixedPoint, positions: int, config: Config, place: Place
    ) -> tuple[FixedPoint, FixedPoint]:
        """Types of the sum and of its quotient, which depend on the version of ``nnet_pooling.h``."""
        headers = sorted(self.project.folder.rglob("nnet_pooling.h"))
        text = headers[0].read_text("utf-8", "replace") if headers else ""
        if re.search(r"typename accum_t>\s*accum_t avg\(", text):
            accumulator = _type(config, "accum_t")
            return accumulator, accumulator
        if re.search(r"ap_u?fixed<W \+ ceillog2\(N\), I \+ ceillog2\(N\), Q, O(?:, M)?> tmp", text):  # up to hls4ml 0.8
            return replace(source, width=source.width + (positions - 1).bit_length()), source
        raise UnsupportedError(f"{place}: how nnet_pooling.h averages is not known; rebuild the project")

    def _merge(self, name: str, how: str, x: str, y: str, out: FixedPoint) -> None:
        if how != "average":
            self.add(Merge(name, how, x, y, out))
            return
        kinds = [self.operations[operand].out for operand in (x, y)]
        frac = max(kind.frac for kind in kinds)
        wide = FixedPoint(max(kind.width - kind.frac for kind in kinds) + frac + 2, frac)
        total = self.add(Merge(f"{name}_sum", "add", x, y, wide))
        ones = np.ones(self.flows[x].size, np.int64)
        self.add(Affine(name, total, ones, FixedPoint(1, 1, False), 0 * ones, FixedPoint(1, 0), out))


def _constant(config: Config, key: str) -> int:
    if key not in config.constants:
        raise ValueError(f"struct {config.name!r} ({config.place}) must have the integer {key!r}")
    return config.constants[key]


def _type(config: Config, key: str) -> FixedPoint:
    if key not in config.types:
        raise ValueError(f"struct {config.name!r} ({config.place}) must have the type {key!r}")
    return config.types[key]


def _transposed(config: Config, place: Place) -> bool:
    """Whether weights are stored by output first."""
    strategy = config.names.get("strategy", "latency")
    if strategy not in ("latency", "resource"):
        raise UnsupportedError(f"{place}: strategy must be latency or resource, not {strategy!r}; rebuild the project")
    return strategy == "resource"


def _check_reuse(reuse: int, n_in: int, n_out: int, place: Place) -> None:
    """Refuse what hls4ml's convolution asserts not to compute: without assertions, it reads beyond its arrays."""
    if reuse > n_in or (reuse < n_in and -(-n_in * n_out // reuse) % n_out):
        raise UnsupportedError(
            f"{place}: reuse_factor {reuse} must suit the convolution of {n_in} x {n_out} weights, or hls4ml's result "
            f"is undefined; rebuild the project with a divisor of {n_in}"
        )


def _product_of(config: Config, place: Place) -> str:
    product = config.names.get("product", "mult")
    if product not in ("mult", "weight_binary", "weight_ternary"):
        raise UnsupportedError(f"{place}: product {product!r} is not read; use more than one bit, and no powers of 2")
    return product
