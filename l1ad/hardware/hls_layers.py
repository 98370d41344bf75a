"""The one layer that hls4ml lacks, `Mask`, added through its extension API."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from hls4ml.backends import get_backend
from hls4ml.backends.template import FunctionCallTemplate, LayerConfigTemplate
from hls4ml.model.attributes import TypeAttribute, WeightAttribute
from hls4ml.model.layers import Layer, register_layer

_CONFIG = """struct config{index} : nnet::mask_config {{
    static const unsigned n_in = {n_in};
    static const unsigned n_by = {n_by};
    static const unsigned reuse_factor = {reuse};
    typedef {column_t.name} column_t;
}};\n"""
_CALL = "nnet::mask<{x_t}, {by_t}, {output_t}, {config}>({x}, {by}, {output}, {column});"


class L1adMask(Layer):  # type: ignore[misc]
    """Layer of an hls4ml graph: inputs `x` and `by`, constant `column`."""

    _expected_attributes: ClassVar = [WeightAttribute("column"), TypeAttribute("column")]

    def initialize(self) -> None:
        """Declare the output and the constant."""
        self.add_output_variable(self.get_input_variable(self.inputs[0]).shape)
        self.add_weights_variable(name="column", var_name="column{index}")


class _MaskConfig(LayerConfigTemplate):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__(L1adMask)
        self.template = _CONFIG

    def format(self, node: Any) -> str:
        params = self._default_config_params(node)
        params["n_in"] = node.get_input_variable(node.inputs[0]).size_cpp()
        params["n_by"] = node.get_input_variable(node.inputs[1]).size_cpp()
        params["column_t"] = node.get_weights("column").type
        return _CONFIG.format(**params)


class _MaskCall(FunctionCallTemplate):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__(L1adMask, include_header=["nnet_utils/mask.h"])
        self.template = _CALL

    def format(self, node: Any) -> str:
        x, by = (node.get_input_variable(name) for name in node.inputs)
        output = node.get_output_variable()
        return _CALL.format(
            config=f"config{node.index}",
            x_t=x.type.name,
            by_t=by.type.name,
            output_t=output.type.name,
            x=x.name,
            by=by.name,
            output=output.name,
            column=node.get_weights("column").name,
        )


def register() -> None:
    """Teach hls4ml's Vitis backend the layer; calling it again does nothing."""
    backend = get_backend("Vitis")
    source = Path(__file__).with_name("mask.h")
    if any(Path(known).name == source.name for known in backend.get_custom_source()):
        return
    register_layer("L1adMask", L1adMask)
    backend.register_template(_MaskConfig)
    backend.register_template(_MaskCall)
    backend.register_source(source)
