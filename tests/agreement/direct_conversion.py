"""hls4ml's own conversion of a QKeras model's core, without l1ad's: model.h5 and scaled inputs to outputs.

    python direct_conversion.py model.h5 inputs.npy LAYER folder outputs.npy

The core reaches from the QActivation `inputs` to LAYER.  hls4ml finds out every type itself (`bit_exact`).  It must
see Keras 2, which QKeras builds on, under the name `keras`; hence a process of its own.
"""

import sys
from typing import Any

import numpy as np

from l1ad.models.keras import TriggerScaling, keras, load_model

sys.modules["keras"] = keras
import hls4ml  # noqa: E402


def core(model: Any, last: str) -> Any:
    """The part of `model` from `inputs` to `last`, applied to scaled values."""
    x = start = keras.Input(model.get_layer("scaling").output.shape[1:], name="scaled")
    for layer in model.layers:
        if isinstance(layer, TriggerScaling | keras.layers.InputLayer):
            continue
        x = layer(x)
        if layer.name == last:
            return keras.Model(start, x)
    raise ValueError(f"model has no layer {last!r}")


def main(model: str, inputs: str, last: str, folder: str, outputs: str) -> None:
    chosen = core(load_model(model), last)
    config = hls4ml.utils.config_from_keras_model(chosen, granularity="name", backend="Vitis")
    project = hls4ml.converters.convert_from_keras_model(
        chosen, hls_config=config, output_dir=folder, backend="Vitis", io_type="io_parallel", bit_exact=True
    )
    project.compile()
    np.save(outputs, np.asarray(project.predict(np.ascontiguousarray(np.load(inputs)))))


if __name__ == "__main__":
    main(*sys.argv[1:])
