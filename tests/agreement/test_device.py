"""Emulation by JAX equals the reference: on its CPU backend wherever JAX is, and the same programs on a CUDA device."""

import sys
from itertools import product

import numpy as np
import pytest
from conftest import TOOLS, required_tools
from native_networks import MODES, arbitrary_network, wide_input

from l1ad.compare import random_inputs
from l1ad.emulate import device, reference
from l1ad.emulate.device import Device, choose
from l1ad.errors import MismatchError, ToolNotFoundError
from l1ad.fixed import OVERFLOW, ROUNDING, FixedPoint
from l1ad.fuzz.networks import KINDS, random_network
from l1ad.network import Network
from l1ad.operations import (
    Affine,
    Cast,
    Convolution,
    Dense,
    Dot,
    Input,
    Mask,
    Merge,
    rescale,
)

BATCH = 512
NONE = np.zeros(1, np.int64), FixedPoint(1, 0)
"""No bias of one output."""


@pytest.fixture
def jax(require):
    require("jax")
    import jax

    return jax


@pytest.fixture(params=["cpu", "gpu"])
def platform(request, jax):
    if request.param == "gpu" and not TOOLS["cuda"]():
        if "cuda" in required_tools():
            pytest.fail("L1AD_REQUIRE names cuda, and JAX finds no CUDA device")
        pytest.skip("no CUDA device: nothing ran on a GPU; set L1AD_REQUIRE=cuda to make this a failure")
    assert jax.devices(request.param)[0].platform == request.param
    return request.param


def require_equal(network, x, platform):
    """The device once its scores are the reference's; the last batch is never full."""
    made = Device(network, platform, BATCH)
    x = x if len(x) % BATCH else x[:-1]
    scores, expected = made.scores(x), reference.emulate(network, x)
    assert scores.dtype == np.int64
    wrong = np.flatnonzero(scores != expected)
    assert not len(wrong), (
        f"{len(wrong)} of {len(x)} scores differ, first of event {wrong[0]}: {scores[wrong[0]]}, not "
        f"{expected[wrong[0]]}; input {x[wrong[0]].tolist()}; {made.arithmetic}; "
        f"{[str(operation) for operation in network.operations]}"
    )
    return made


# random networks


@pytest.mark.parametrize("kind", KINDS)
def test_random_networks_in_every_pair_of_modes(kind, platform):
    """Each pair of modes in one kind of network, and in each kind networks of all modes mixed."""
    for number, modes in list(enumerate(MODES))[KINDS.index(kind) :: len(KINDS)]:
        rng = np.random.default_rng([number, 1])
        network = random_network(rng, *modes, kind, 12 + 8 * (number % 3))
        require_equal(network, random_inputs(network, 600), platform)
    for number in range(2):
        rng = np.random.default_rng([number, 2])
        mixed = rng.choice(ROUNDING, 12).tolist(), rng.choice(OVERFLOW, 12).tolist()
        network = random_network(rng, *mixed, kind, 28)
        require_equal(network, random_inputs(network, 600), platform)


@pytest.mark.parametrize("first", [0, 15])
def test_networks_of_any_operations_and_widths(first, platform):
    """Up to 63 bits."""
    found = set()
    for seed in range(first, first + 15):
        network = arbitrary_network(seed)
        found |= set(require_equal(network, random_inputs(network, 600), platform).arithmetic.values())
    assert {"int8", "float32", "float64", "terms"} <= found


# casts


def casts(rounding, trigger, dropped, types):
    """Network of one column, cast to many types, which are summed with odd factors."""
    operations, score, frac = [trigger], None, trigger.out.frac
    for number, (overflow, down, (width, signed)) in enumerate(product(OVERFLOW, dropped, types)):
        kind = FixedPoint(width, frac - down, signed, rounding, overflow)
        factor = np.array([2 * number + 1]), FixedPoint(10, -kind.frac), *NONE
        operations.append(Cast(f"cast{number}", "trigger", kind))
        operations.append(Affine(f"odd{number}", f"cast{number}", *factor, FixedPoint(60, 0)))
        if number:
            score = Merge(f"sum{number}", "add", f"sum{number - 1}" if number > 1 else "odd0", f"odd{number}", WIDE)
            operations.append(score)
    return Network(tuple(operations))


WIDE = FixedPoint(60, 0)


@pytest.mark.parametrize("rounding", ROUNDING)
def test_every_number_of_a_column_in_every_mode(rounding, platform):
    """In 31 bits: every number.  In 63 bits: ties, and their neighbours, of every number of bits that is dropped."""
    few = wide_input(1, -(2**11), 2**11 - 1, FixedPoint(12, 2))
    narrow = casts(rounding, few, (-1, 0, 1, 3), ((1, True), (1, False), (6, True), (8, False)))
    require_equal(narrow, np.arange(-(2**11), 2**11)[:, None], platform)
    far, dropped = wide_input(1, -(2**47), 2**47 - 1, FixedPoint(48, 2)), (-3, 1, 16, 31, 32, 33, 45)
    wide = casts(rounding, far, dropped, ((7, True), (33, False), (32, True)))
    ties = [
        sign * (k << down >> 1) + d for down in dropped[1:] for k in range(9) for sign in (1, -1) for d in (-1, 0, 1)
    ]
    edges = np.clip(
        [*ties, -(2**47), 2**47 - 1, *np.random.default_rng(1).integers(-(2**47), 2**47, 500)], -(2**47), 2**47 - 1
    )
    require_equal(wide, edges[:, None], platform)


# sums


def sums(low, high, weight, width):
    """A dense layer of inputs in a range, its sum kept whole."""
    weight = np.asarray(weight)[:, None]
    trigger = wide_input(len(weight), low, high, FixedPoint.holding(low, high, 0))
    dense = Dense("score", "trigger", weight, FixedPoint(width, 0), *NONE, None, FixedPoint(63, 0))
    return Network((trigger, dense))


@pytest.mark.parametrize(
    ("low", "high", "weight", "arithmetic"),
    [
        (-128, 127, [127, -128, 5], "int8"),
        (0, 255, [127, -128, 5], "int8"),
        (-255, 0, [127, -128, 5], "int8"),
        (5000, 5255, [127, -128, 5], "int8"),
        (-129, 127, [127, -128, 5], "float32"),
        (-128, 127, [128, -128, 5], "float32"),
        (0, 2048, [4096, 4095], "float32"),
        (0, 2048, [4096, 4096], "float64"),
        (0, 1, [2**24 - 1, 1], "float64"),
        (0, 2**24 - 1, [1], "float32"),
        (0, 2**24, [1], "float64"),
        (-(2**20), 2**20, [2**32, 1 - 2**32], "float64"),
        (-(2**20), 2**20, [2**32, -(2**32)], "int64"),
        (0, 2**30, [2**22, 2**22 - 1], "float64"),
        (0, 2**30, [2**22, 2**22], "int64"),
        (-(2**30), 2**30, [2**30, 2**30], "int64"),
    ],
)
def test_the_arithmetic_is_the_first_that_holds_every_partial_sum(low, high, weight, arithmetic, platform):
    network = sums(low, high, weight, 40)
    x = random_inputs(network, 1000)
    assert require_equal(network, x, platform).arithmetic == {"score": arithmetic}
    sum = choose(network.score, network)
    terms = (x - sum.zero) * weight  # the bound is met, by the corners
    assert sum.reach == max(np.maximum(terms, 0).sum(axis=1).max(), -np.minimum(terms, 0).sum(axis=1).min())


def test_a_sum_beyond_its_arithmetic_is_wrong_and_is_found(platform, monkeypatch):
    """What the bounds are for: without them, float32 is silently wrong."""
    network = sums(0, 2**15, [2**14 + 1, -(2**13) - 1, 3, 2**12 + 5], 20)
    assert Device(network, platform, BATCH).arithmetic == {"score": "float64"}
    monkeypatch.setattr(device, "FLOAT32_BITS", 40)
    assert choose(network.score, network).arithmetic == "float32"
    with pytest.raises(MismatchError, match=r"^reference = JAX on .*: \d+ mismatches in \d+ events; first at event "):
        Device(network, platform, BATCH)


@pytest.mark.parametrize("product", [None, FixedPoint(20, 1, True, "RND_CONV", "SAT"), FixedPoint(9, 2, True, "RND")])
@pytest.mark.parametrize("ends", [(-40, 50), (100, 230), (-230, -100), (-3000, 3000)])
def test_convolutions_of_images_that_are_far_from_zero(ends, product, platform):
    """The padding is 0, also where no number of the image is, and where numbers lie less a zero point."""
    rng, kind, shape = np.random.default_rng(ends[1] + 5000), FixedPoint(6, 3), (3, 4, 2)
    weight = rng.integers(-32, 32, (2, 3, 2, 3))
    bias = rng.integers(-32, 32, 3), FixedPoint(6, 4)
    out = FixedPoint(12, 0, True, "RND_CONV", "SAT")
    image = Convolution("image", "trigger", shape, weight, kind, *bias, (1, 2), (1, 0, 2, 1), product, out)
    last = rng.integers(-32, 32, (len(image.windows()) * 3, 1)), kind, *NONE, None, FixedPoint(30, 3)
    network = Network((wide_input(24, *ends, FixedPoint(13, 0)), image, Dense("score", "image", *last)))
    made = require_equal(network, random_inputs(network, 600), platform)
    assert made.arithmetic["image"] == ("terms" if product else "float32" if ends[1] == 3000 else "int8")


# networks of the trigger


def trigger_network(kind):
    """Random weights in the shape of the quickstart: 57-32-16-6 and a sum of squares, or 57-32-16-3-16-32-57."""
    rng, weights, relu = np.random.default_rng(57), FixedPoint(8, 6), FixedPoint(10, 5, False, "RND_CONV", "SAT")
    low, high = np.tile([0, -115, 0], 19), np.tile([2047, 115, 143], 19)
    trigger = Input("trigger", tuple(f"column{i}" for i in range(57)), low, high, FixedPoint(13, 0))
    shift = np.tile([5, 5, 6], 19)
    scaled = rescale("scaled", "trigger", trigger.out, low + 70, shift, FixedPoint(11, 5, True, "RND_CONV", "SAT"))
    operations, size = [trigger, scaled], 57
    for number, n_out in enumerate((32, 16, 6) if kind == "vae" else (32, 16, 3, 16, 32, 57)):
        last = n_out in (6, 57)
        weight = np.round(rng.normal(0, 0.25, (size, n_out)) * 64).clip(-128, 127).astype(np.int64)
        bias = rng.integers(-64, 64, n_out), FixedPoint(9, 8)
        out = FixedPoint(12, 6, True, "RND_CONV", "SAT") if last else relu
        operations.append(Dense(f"dense{number}", operations[-1].name, weight, weights, *bias, None, out))
        size = n_out
    if kind == "autoencoder":
        operations.append(Merge("difference", "subtract", "scaled", operations[-1].name, FixedPoint(13, 6)))
        index = np.repeat(np.arange(0, 57, 3), 3)
        operations.append(Mask("present", "difference", "trigger", index, FixedPoint(13, 6)))
    name = operations[-1].name
    return Network((*operations, Dot("score", name, name, None, FixedPoint(24, 6, False, "RND", "SAT"))))


@pytest.mark.parametrize("kind", ["vae", "autoencoder"])
def test_networks_in_the_shape_of_the_quickstart(kind, platform):
    network = trigger_network(kind)
    x = random_inputs(network, 20_000)
    made = require_equal(network, x, platform)
    assert set(made.arithmetic.values()) == {"float32"}
    assert len(np.unique(made.scores(x))) > 1000


def test_every_layout_of_events(platform):
    network = sums(-7, 100, [3, -5, 64, 1], 8)
    x = random_inputs(network, 4 * BATCH)
    made, expected = Device(network, platform, BATCH), reference.emulate(network, x)
    for n_events in (0, 1, BATCH - 1, BATCH, BATCH + 1, 3 * BATCH + 5):
        for given in (x, x.astype(np.int8), np.asfortranarray(x.astype(np.int16)), x.astype(">i4")):
            np.testing.assert_array_equal(made.scores(given[:n_events]), expected[:n_events])
        columns = [column[:n_events] for column in x.astype(np.int16).T]
        columns[1] = columns[1].astype(np.int64)
        np.testing.assert_array_equal(made.scores(columns), expected[:n_events])
    np.testing.assert_array_equal(made.scores(x.tolist()), expected)
    assert made.scores(abs(x).astype(np.uint64)[:5]).shape == (5,)


def test_events_are_refused_as_the_reference_refuses_them(platform):
    network = sums(-7, 100, [3, -5], 8)
    made, x = Device(network, platform, BATCH), random_inputs(network, 3 * BATCH)
    x[2 * BATCH + 3, 1], x[2 * BATCH + 9] = 101, -8
    bad = [x, x.astype(float), x[:, 0], x[:, :1], x[None], np.zeros((0, 3), int), np.full((3, 2), 2**63, np.uint64)]
    for given in bad:
        with pytest.raises((TypeError, ValueError)) as expected:
            reference.emulate(network, given)
        with pytest.raises(expected.type) as found:
            made.scores(given)
        assert str(found.value) == str(expected.value)
    with pytest.raises(
        ValueError, match=rf"event {2 * BATCH + 3}, column 'column1' is 101, outside -7 .. 100 \(2 such"
    ):
        made.scores(list(x.T))
    with pytest.raises(ValueError, match=r"must have 2 columns of one length, not 3 of \[5\]"):
        made.scores([np.zeros(5, int)] * 3)
    with pytest.raises(ValueError, match=r"must have 2 columns of one length, not 2 of \[4, 5\]"):
        made.scores([np.zeros(5, int), np.zeros(4, int)])
    with pytest.raises(TypeError, match="must be hardware integers, not dtype float64"):
        made.scores([np.zeros(5, np.uint64), np.zeros(5, int)])


# the program


def test_the_program_for_cuda_is_the_one_that_runs_on_the_cpu(jax):
    """No device is needed to see what XLA would be given for one."""
    for network in (
        trigger_network("autoencoder"),
        random_network(np.random.default_rng(3), "RND", "SAT", "image", 20),
    ):
        made = Device(network, "cpu", BATCH)
        text = made.lowered("cuda").as_text()
        assert text == made.lowered("cpu").as_text()
        dots = [line for line in text.splitlines() if "stablehlo.dot_general" in line]
        assert len(dots) == sum(how != "terms" for how in made.arithmetic.values())
        for line in dots:
            assert ("accumulation_type = f32, " in line) == ("xf32>" in line)
            assert ("num_primitive_operations = 1, allow_imprecise_accumulation = false" in line) == ("xf32>" in line)
        assert not any(word in text for word in ("convolution", "bf16", "tf32", "f16", "custom_call"))
    with jax.enable_x64(True):
        assert made.lowered("cuda").as_text() == made.lowered("cpu").as_text()


def test_the_caller_keeps_his_own_jax(jax):
    before = jax.config.jax_enable_x64, jax.config.jax_default_matmul_precision
    network = sums(-(2**30), 2**30, [2**30, 2**30], 40)
    x = random_inputs(network, 10)
    with jax.default_matmul_precision("bfloat16"):
        np.testing.assert_array_equal(Device(network, "cpu", BATCH).scores(x), reference.emulate(network, x))
        few = sums(0, 2**20 - 1, [5, 1, -3], 5)
        require_equal(few, random_inputs(few, 10), "cpu")
    assert (jax.config.jax_enable_x64, jax.config.jax_default_matmul_precision) == before
    assert jax.numpy.arange(3).dtype == "int32"


def test_batches_are_bounded_by_memory(jax, monkeypatch):
    monkeypatch.setattr(device, "MEMORY", 100 * 8 * 5)
    network = sums(-7, 100, [3, -5, 7, 1], 8)
    assert jax
    assert Device(network, "cpu").batch == 100
    with pytest.raises(ValueError, match="batch must be at least 1 event, not 0"):
        Device(network, "cpu", 0)


def test_devices_that_do_not_exist_are_named(jax):
    network = sums(-7, 100, [3], 8)
    assert jax
    with pytest.raises(ValueError, match="platform must be one of cpu, gpu, cuda, not 'abacus'"):
        Device(network, "abacus")
    if not TOOLS["cuda"]():
        with pytest.raises(ToolNotFoundError, match="platform 'gpu': JAX finds no such device"):
            Device(network, "gpu")


def test_without_jax_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "jax", None)
    with pytest.raises(ImportError, match=r"needs JAX; install it: `pip install 'l1ad\[gpu\]'`"):
        Device(sums(-7, 100, [3], 8))
