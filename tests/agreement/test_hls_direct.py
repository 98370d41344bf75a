"""An independent path: hls4ml converts the QKeras model itself, and must arrive at the reference's numbers.

Neither l1ad's conversion nor its hls4ml backend takes part: a fault that the two share would show here.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from networks import small_model

from l1ad.compare import corners
from l1ad.convert.from_qkeras import convert
from l1ad.emulate import reference
from l1ad.fuzz.networks import random_events
from l1ad.models.keras import save_model

SCRIPT = Path(__file__).with_name("direct_conversion.py")


@pytest.mark.parametrize(("kind", "last"), [("autoencoder", "reconstruction"), ("vae", "latent")])
def test_hls4mls_own_conversion_equals_the_reference(kind, last, tmp_path, require, rng):
    require("g++")  # which hls4ml itself calls
    model = small_model(kind, seed=12)
    network = convert(model)
    x = np.vstack([corners(network), random_events(rng, network, 6_000)])
    inputs = network["inputs"]
    scaled = x * inputs.scale * inputs.scale_type.lsb + inputs.bias * inputs.bias_type.lsb
    paths = [str(tmp_path / name) for name in ("model.h5", "inputs.npy", "project", "outputs.npy")]
    save_model(model, paths[0])
    np.save(paths[1], scaled)
    command = [sys.executable, str(SCRIPT), *paths[:2], last, *paths[2:]]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    expected = reference.trace(network, x)[last]
    assert len(np.unique(expected)) > 100
    np.testing.assert_array_equal(np.load(paths[3]).reshape(expected.shape) / network[last].out.lsb, expected)
