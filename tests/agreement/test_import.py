"""Networks, written as hls4ml projects and read back: the same networks, and the same bits as their compiled C++."""

import re
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from l1ad.audit.against import against_project, simulation
from l1ad.canonical import canonical
from l1ad.compare import agree, corners
from l1ad.convert.from_hls4ml.importer import import_project
from l1ad.emulate import reference
from l1ad.errors import UnsupportedError
from l1ad.events.schema import InputColumn
from l1ad.fixed import OVERFLOW, ROUNDING
from l1ad.fuzz.networks import KINDS, random_events, random_network
from l1ad.hardware.hls import write_project
from l1ad.hardware.target import Target
from l1ad.network import Network
from l1ad.operations import Dot

PAIRS = np.array(list(product(ROUNDING, OVERFLOW)))
TARGETS = (Target(), Target(strategy="Resource"))
N_NETWORKS = 50  # of each kind


def make(kind, number):
    rng = np.random.default_rng([KINDS.index(kind), number])
    return random_network(rng, *rng.permutation(PAIRS).T.tolist(), kind)


def columns_of(network):
    """The input as a trigger would describe it, where its raw numbers are codes."""
    trigger = network.input
    lsb, unit = (trigger.out.lsb, "GeV") if trigger.out.frac > 0 else (1.0, "1")
    ends = zip(trigger.columns, trigger.low.tolist(), trigger.high.tolist(), strict=True)
    return tuple(InputColumn(name, low, high, lsb, unit) for name, low, high in ends)


def imported(network, folder):
    """The project in `folder` as a network of the trigger of `network`."""
    if network.input.out.frac >= 0:
        return import_project(folder, columns_of(network)).network
    start, *others = import_project(folder).network.operations
    return Network((replace(network.input, name=start.name), *others))


@pytest.mark.parametrize("part", range(5))
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_read_back(kind, part, tmp_path):
    for number in range(part, N_NETWORKS, 5):
        network = make(kind, number)
        folder = write_project(network, tmp_path / "project", TARGETS[number % 2], corners(network)[:1])
        found = imported(network, folder)
        x = np.vstack([corners(network), random_events(np.random.default_rng(number), network, 50)])
        np.testing.assert_array_equal(reference.emulate(found, x), reference.emulate(network, x))
        assert canonical(found) == canonical(network), (kind, number)


@pytest.mark.parametrize("kind", KINDS)
def test_networks_cover_every_pair_of_modes(kind):
    operations = [operation for number in range(N_NETWORKS) for operation in make(kind, number).operations[1:]]
    assert {(operation.out.rounding, operation.out.overflow) for operation in operations} == set(map(tuple, PAIRS))


@pytest.mark.parametrize(
    ("kind", "number", "n_events"),
    [
        ("latent", 0, 2_000),
        ("reconstruction", 1, 100_000),
        ("image", 2, 2_000),
        ("image", 3, 2_000),
        ("mixed", 4, 2_000),
        ("mixed", 5, 2_000),
    ],
)
def test_what_is_read_equals_the_compiled_project(kind, number, n_events, tmp_path, require):
    require("compiler")
    network = make(kind, number)
    folder = write_project(network, tmp_path / "project", TARGETS[number % 2], corners(network))
    found = import_project(folder).network
    x = np.vstack([corners(found), random_events(np.random.default_rng(1), found, n_events)])
    simulated = simulation(folder, tmp_path / "build")
    if number == 1:
        assert against_project(found, simulated, x).agreement.require().n_events == len(x)
    expected = reference.trace(found, x[:2_100])
    agreement = agree(found, "network", expected, "C simulation", simulated.run(found, expected, trace=True)).require()
    assert agreement.operations == len(network.operations)


def test_an_accumulator_of_squares_may_saturate_and_one_of_both_signs_may_not(tmp_path, require):
    """What only grows stays where it saturates, in any order."""
    require("compiler")
    network = make("latent", 3)
    folder = write_project(network, tmp_path / "project", TARGETS[0], corners(network))
    defines, reach = folder / "firmware" / "defines.h", network.flows["score"].accumulator
    before, integer = defines.read_text(), reach.width - reach.frac - 3
    narrow = f"ap_fixed<{reach.width - 6},{integer + 1},AP_RND_CONV,AP_SAT>"
    defines.write_text(re.sub(r"typedef ap_u?fixed<.*> score_accum_t;", f"typedef {narrow} score_accum_t;", before))
    found = import_project(folder).network
    assert str(next(o for o in found.operations if isinstance(o, Dot)).product) == narrow
    x = np.vstack([corners(found), random_events(np.random.default_rng(1), found, 2_000)])
    sums = reference.trace(found, x)[found.operations[-2].name]
    assert (sums == found.operations[-2].out.max_raw).sum() > 10
    against_project(found, simulation(folder, tmp_path / "build"), x).agreement.require()
    defines.write_text(re.sub(r"typedef .* code_accum_t;", "typedef ap_fixed<5,2,AP_TRN,AP_SAT> code_accum_t;", before))
    with pytest.raises(UnsupportedError, match=r"^firmware/l1ad.cpp:\d+: accumulator ap_fixed<5,2,AP_TRN,AP_SAT> may"):
        import_project(folder)
