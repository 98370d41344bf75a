"""Emulators in the manner of CMS around our own projects: scaling before the network, score behind it."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

from l1ad.audit.against import against_project, simulation
from l1ad.compare import random_inputs
from l1ad.convert.from_hls4ml.importer import import_project
from l1ad.emulate import reference
from l1ad.errors import UnsupportedError
from l1ad.events.schema import InputColumn
from l1ad.fixed import FixedPoint
from l1ad.hardware.hls import _without_keras, hls_graph
from l1ad.hardware.target import Target
from l1ad.network import Network
from l1ad.operations import Cast, Dense, Dot, Input

N, LATENT = 6, 3
GIVEN = FixedPoint(18, 5)
EMULATOR = """\
#include "ap_fixed.h"
#include "emulator.h"
#include "firmware/l1ad.h"
#include "nnet_utils/nnet_common.h"
#include "scales.h"
#include <any>
#include <array>
#include <utility>

typedef ap_fixed<18, 13> raw_t;
typedef ap_fixed<18, 13> scaled_t;
typedef ap_ufixed<18, 14> loss_t;
typedef std::pair<std::array<result_t, 3>, loss_t> answer_t;

// a trigger around a network
class Trigger : public hls4mlEmulator::Model {
    raw_t raw[6];
    scaled_t scaled[6];
    result_t latent[3];
    loss_t loss;

    virtual void scale(raw_t from[6], scaled_t to[6]) {
        for (int i = 0; i < 6; i++) {
            scaled_t centred = from[i] - scales::offset[i];
            scaled_t moved = centred >> scales::shift[i];
            to[i] = moved;
        }
    }
    virtual loss_t judge(result_t of[3]) {
        loss_t squares[3];
        for (int i = 0; i < 3; i++) squares[i] = of[i] * of[i];
        nnet::Op_add<loss_t> plus;
        loss_t total;
        total = nnet::reduce<loss_t, 3, nnet::Op_add<loss_t> >(squares, plus);
        return total;
    }

  public:
    virtual void prepare_input(std::any input) {
        raw_t *given = std::any_cast<raw_t *>(input);
        for (int i = 0; i < 6; i++) raw[i] = given[i];
        scale(raw, scaled);
    }
    virtual void predict() {
        l1ad(scaled, latent);
        loss = judge(latent);
    }
    virtual void read_result(std::any result) {
        answer_t *answer = std::any_cast<answer_t *>(result);
        for (int i = 0; i < 3; i++)
            answer->first[i] = latent[i];
        answer->second = loss;
    }
};
extern "C" hls4mlEmulator::Model *create_model() { return new Trigger; }
extern "C" void destroy_model(hls4mlEmulator::Model *model) { delete model; }
"""
SCALES = """\
#include "ap_fixed.h"
namespace scales {
static const ap_fixed<10, 10> offset[6] = {0, 4.5, -7.5, 511, -512, 30};
static const ap_fixed<5, 5> shift[6] = {0, 5, -2, 3, 6, -1};
}
"""


@pytest.fixture
def project(tmp_path):
    """Folder of an emulator around two layers, the second of which has no bits to spare."""
    rng = np.random.default_rng(11)
    trigger = Input("trigger", tuple("abcdef"), np.full(N, GIVEN.min_raw), np.full(N, GIVEN.max_raw), GIVEN)

    def dense(name, x, n_in, n_out, out):
        kind, bias = FixedPoint(6, 4), rng.integers(-99, 100, n_out)
        return Dense(name, x, rng.integers(-31, 32, (n_in, n_out)), kind, bias, FixedPoint(8, 5), None, out)

    hidden = dense("hidden", "trigger", N, 5, FixedPoint.parse("ap_fixed<20,10,AP_RND_CONV,AP_SAT>"))
    relu = Cast("relu", "hidden", FixedPoint.parse("ap_ufixed<11,6,AP_RND_CONV,AP_SAT>"))
    code = dense("code", "relu", 5, LATENT, FixedPoint.parse("ap_fixed<12,7,AP_RND_CONV,AP_SAT>"))
    score = Dot("score", "code", "code", None, FixedPoint(30, 10))
    network = Network((trigger, hidden, relu, code, score))
    headless = Headless(network, network.operations[:-1], code)
    graph = hls_graph(headless, tmp_path / "project", Target())
    with _without_keras():
        graph.write()
    folder = tmp_path / "project"
    (folder / "emulator.cpp").write_text(EMULATOR)
    (folder / "scales.h").write_text(SCALES)
    (folder / "l1ad_test.cpp").unlink()
    (folder / "l1ad_bridge.cpp").unlink()
    return folder


class Headless(SimpleNamespace):
    """A network up to its latent layer, which hls4ml has no need to know is none."""

    def __init__(self, network, operations, last):
        super().__init__(operations=operations, input=network.input, score=last, flows=network.flows)

    def __getitem__(self, name):
        return next(operation for operation in self.operations if operation.name == name)


def test_an_emulator_is_read_and_equals_its_own_compiled_code(project, require):
    require("compiler")
    network = import_project(project).network
    x = random_inputs(network, 100_000)
    x[: len(x) // 2] = np.sign(x[: len(x) // 2]) * (np.abs(x[: len(x) // 2]) % 2000)  # few of them saturate all
    scores = reference.emulate(network, x)
    assert len(np.unique(scores)) > 10_000
    agreement = against_project(network, simulation(project, project / "build"), x).agreement.require()
    assert agreement.n_events == len(x)


PRIVATE = """\
  private:
    typedef ap_fixed<18, 13> raw_t;
    typedef ap_fixed<18, 13> scaled_t;
    using loss_t = ap_ufixed<18, 14>;
    raw_t raw[6];"""


def test_types_that_a_class_keeps_to_itself_and_integers_of_c(project, require):
    require("compiler")
    same = import_project(project).network
    text = re.sub(r"typedef (ap_|std::pair<).*\n", "", EMULATOR).replace("    raw_t raw[6];", PRIVATE)
    (project / "emulator.cpp").write_text(text.replace("answer_t", "std::pair<std::array<result_t, 3>, loss_t>"))
    (project / "scales.h").write_text("#include <cstdint>\n" + SCALES.replace("ap_fixed<5, 5>", "int32_t"))
    network = import_project(project).network
    assert network == same
    against_project(network, simulation(project, project / "build"), random_inputs(network, 2_000)).agreement.require()


def test_the_only_result_may_be_the_score(project):
    (project / "emulator.cpp").write_text(EMULATOR.replace("loss = judge(latent)", "loss = latent[0]"))
    with pytest.raises(ValueError, match=r"^firmware/l1ad.cpp:\d+: the result must be one score, not 3 numbers; "):
        import_project(project)


def test_an_emulator_is_this_arithmetic(project):
    """Offsets off the grid are truncated, negative shifts multiply, and the type wraps."""
    network = import_project(project).network
    x = np.stack([np.array([1, -1, 100, 4000, 7, -900])[np.newaxis] << 5, np.full((1, N), 131071)]).reshape(2, N)
    offset, shift = np.array([0, 4, -8, 511, -512, 30]), np.array([0, 5, -2, 3, 6, -1])
    centred = ((x - (offset << 5) + 2**17) & (2**18 - 1)) - 2**17
    moved = np.where(shift < 0, centred << np.maximum(-shift, 0), centred >> np.maximum(shift, 0))
    wrapped = ((moved + 2**17) & (2**18 - 1)) - 2**17
    trace = reference.trace(network, x)
    np.testing.assert_array_equal(trace["scaled"], wrapped)
    squares = trace["code"] ** 2 >> (10 - 4)  # of results with 5 fractional bits, to 4
    np.testing.assert_array_equal(trace[network.score.name][:, 0], squares.sum(axis=1) & (2**18 - 1))


def test_an_emulator_takes_codes(project):
    """As integers, whatever their units are, unless they are in GeV."""
    columns = tuple(
        InputColumn(f"c{i}", -(2**9), 2**9 - 1, *unit) for i, unit in enumerate([(0.5, "GeV")] + 5 * [(0.1, "rad")])
    )
    network = import_project(project, columns).network
    start = network.operations[1]
    assert start.name == "unscaled"
    codes = np.full((1, N), 100)
    np.testing.assert_array_equal(reference.trace(network, codes)["unscaled"][0], [100 << 4] + 5 * [100 << 5])


REFUSED = """
emulator.cpp | to[i] = moved;        | to[i] = moved; i++;         | to[i] = moved;    | 'i++'
emulator.cpp | i < 6; i++) {         | i < 5; i++) {               | i < 5             | 'for (int i
emulator.cpp | raw[i] = given[i];    | raw[i] = given[0];          | given[0]          | 'raw[i]
emulator.cpp | raw[i] = given[i];    | raw[i] = unscaled[i];       | unscaled[i]       | 'raw[i]
emulator.cpp | from[i] - scales      | from[0] - scales            | from[0]           | 'scaled_t cen
emulator.cpp | centred >> scales     | from[i] >> scales           | from[i] >>        | 'scaled_t mov
emulator.cpp | l1ad(scaled, latent); | l1ad(scaled, latent); z(x); | l1ad(             | 'z(x)'
emulator.cpp | l1ad(scaled, latent); | l1ad(raw, latent);          | l1ad(raw          | 'l1ad(raw
emulator.cpp | judge(latent)         | judge(scaled)               | judge(scaled)     | 'loss = judge
emulator.cpp | of[i] * of[i]         | of[i] * of[0]               | of[0]             | 'squares
emulator.cpp | <loss_t, 3,           | <loss_t, 2,                 | squares[i] =      | 'squares
emulator.cpp | return total;         | return squares[0];          | squares[i] =      | 'squares
emulator.cpp | scale(raw, scaled);   | move(raw, scaled);          | class Trigger     | 'move'
emulator.cpp | scales::shift[i]      | scales::shifts[i]           | shifts[i]         | 'shifts' must be declared with
emulator.cpp | #include "scales.h"   |                             | scales::offset    | 'offset' must be declared with
scales.h     | -2, 3, 6, -1}         | -2, 3, 6}                   | shift[6]          | 'shift' must have 6 values
scales.h     | shift[6] = {0,        | shift[5] = {                | shift[5]          | 'shift' must have 6 numbers
scales.h     | {0, 4.5,              | {0, 1 << 3,                 | 1 << 3            | 1 of array 'offset' must
"""


@pytest.mark.parametrize("case", REFUSED.strip().splitlines())
def test_other_emulators_are_refused_by_line(project, case):
    file, old, new, line, text = (each.strip() for each in case.split(" | "))
    path = project / file
    before = path.read_text()
    assert old in before
    path.write_text(before.replace(old, new, 1))
    (number,) = (n for n, each in enumerate(path.read_text().splitlines(), 1) if line in each)
    with pytest.raises((ValueError, UnsupportedError), match=f"^{file}:{number}: .*{re.escape(text)}"):
        import_project(project)


def test_two_emulators_are_refused(project):
    (project / "other.cpp").write_text(EMULATOR)
    with pytest.raises(ValueError, match=r"must hold one emulator, not \['emulator.cpp', 'other.cpp'\]"):
        import_project(project)
