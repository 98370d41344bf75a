import re
from pathlib import Path

import pytest
from studies import STUDY

from l1ad.hardware.target import Target
from l1ad.study.config import load_study
from l1ad.trigger import Collider

ROOT = Path(__file__).parents[2]


@pytest.fixture
def read(tmp_path):
    """Function that reads the tiny study with one text replaced by another."""

    def reading(old="", new=""):
        assert old in STUDY
        path = tmp_path / "tiny.toml"
        path.write_text(STUDY.replace(old, new, 1), encoding="utf-8")
        return load_study(path)

    return reading


def test_the_tiny_study(read, tmp_path):
    study = read()
    assert study.config.name == "tiny"
    assert list(study.config.models) == ["small_ae", "small_vae"]
    assert study.config.models["small_ae"].hidden == (8,)
    assert study.config.firmware == Target(clock_ns=5.0)
    assert study.config.rate.targets_khz == (10.0, 2000.0)
    assert study.config.rate.collider == Collider(2544, 11245.5)
    assert (study.runs, study.firmware) == (Path("runs/tiny"), Path("firmware/tiny"))
    assert study.events_path("events/rate.h5") == tmp_path / "events" / "rate.h5"


def test_another_ring_is_asked_for_by_name(read):
    study = read("n_bootstrap = 20", "revolution_hz = 11000.0\nrevolution_forced = true")
    assert study.config.rate.collider == Collider(2544, 11_000.0, forced=True)
    assert study.config.rate.collider.crossing_rate_hz == 2544 * 11_000.0


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.toml")), ids=lambda p: p.stem)
def test_our_own_studies_can_be_read(path):
    assert load_study(path).config.name == path.stem


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("seed =", "sede =", "tiny.toml: unknown key 'sede'; did you mean 'seed'?"),
        ("[firmware]", "[firmwear]", "tiny.toml: unknown key 'firmwear'; did you mean 'firmware'?"),
        ("train =", "trian =", "tiny.toml.events: unknown key 'trian'; did you mean 'train'?"),
        ("batch_size", "batchsize", "tiny.toml.models.small_ae: unknown key 'batchsize'; did you mean 'batch_size'?"),
        ("clock_ns", "clock", "tiny.toml.firmware: unknown key 'clock'; did you mean 'clock_ns'?"),
        ("targets_khz", "target_khz", "tiny.toml.rate: unknown key 'target_khz'; did you mean 'targets_khz'?"),
        (
            "clock_ns = 5.0",
            "alpha = 1",
            "tiny.toml.firmware: unknown key 'alpha'; it must be one of part, clock_ns, strategy, reuse_factor",
        ),
        # QKeras quantisers take an alpha; a study has no way to ask for another than 1
        ("latent = 2", "latent = 2\nalpha = 'auto'", "tiny.toml.models.small_ae: unknown key 'alpha'"),
        ("seed = 1\n", "", "tiny.toml: key 'seed' must be given"),
        ("latent = 2\n", "", "tiny.toml.models.small_ae: key 'latent' must be given"),
        ("seed = 1", "seed = true", "tiny.toml.seed must be of type int, not True"),
        ("seed = 1", "seed = '1'", "tiny.toml.seed must be of type int, not '1'"),
        ("hidden = [8]", "hidden = 8", "tiny.toml.models.small_ae.hidden must be a list, not 8"),
        ("hidden = [8]", "hidden = [8, 1.5]", "tiny.toml.models.small_ae.hidden[1] must be of type int, not 1.5"),
        ("targets_khz = [10, 2000]", "targets_khz = 10", "tiny.toml.rate.targets_khz must be a list, not 10"),
        ("targets_khz = [10, 2000]", "targets_khz = [nan]", "tiny.toml.rate.targets_khz[0] must be finite, not nan"),
        ("csim_events = 300", "csim_events = 0", "tiny.toml: csim_events must be at least 1, not 0"),
        ('name = "tiny"', 'name = "../tiny"', "tiny.toml: names of study and models must be of letters, digits"),
        ('name = "tiny"', 'name = ""', "tiny.toml: names of study and models must be of letters, digits"),
        ("[models.small_ae]", '[models."a b"]', "tiny.toml: names of study and models must be of letters, digits"),
        (
            "[models.small_ae]",
            "[models.multiplicity]",
            "names of models must not be 'multiplicity', which a baseline has",
        ),
        ('"A → 4ℓ" =', '"rate" =', "signals must not be called train, rate, corners or contain '/', unlike 'rate'"),
        ('"A → 4ℓ" =', '"train" =', "signals must not be called train, rate, corners or contain '/', unlike 'train'"),
        ('"A → 4ℓ" =', '"a/b" =', "signals must not be called train, rate, corners or contain '/', unlike 'a/b'"),
        ('"A → 4ℓ" =', '"" =', "signals must not be called train, rate, corners or contain '/', unlike ''"),
        (
            '"A → 4ℓ" = "events/signal_a.h5"\n"LQ → bτ" = "events/signal_b.h5"\n',
            "",
            "tiny.toml.events: signals must name at least one file",
        ),
        (
            'rate = "events/rate.h5"',
            'rate = "events/rate.h5"\nvalidation_fraction = 1',
            "tiny.toml.events: validation_fraction must be between 0 and 1, not 1.0",
        ),
        ('kind = "autoencoder"', 'kind = "ae"', "models.small_ae: model kind must be one of ('autoencoder', 'vae')"),
        ("beta = 0.02", "", "tiny.toml.models.small_vae: model beta must be between 0 and 1 for a vae"),
        ("latent = 2", "latent = 2\nbeta = 0.1", "tiny.toml.models.small_ae: model beta must be between 0 and 1"),
        ("hidden = [8]", "hidden = []", "model hidden must be positive layer sizes, not ()"),
        ("hidden = [8]", "hidden = [8, 0]", "model hidden must be positive layer sizes, not (8, 0)"),
        ("latent = 2", "latent = 0", "model latent must be at least 1, not 0"),
        ("float_epochs = 3", "float_epochs = 0", "model float_epochs must be at least 1, not 0"),
        ("learning_rate = 2e-3", "learning_rate = -1", "model learning_rate must be positive, not -1.0"),
        ("learning_rate = 2e-3", "learning_rate = inf", "small_ae.learning_rate must be finite, not inf"),
        ('"ap_fixed<10,6>"', '"fixed<10,6>"', "tiny.toml.models.small_ae: "),
        ('"ap_fixed<10,6>"', '"ap_fixed<10>"', "tiny.toml.models.small_ae: "),
        ('"ap_fixed<10,6>"', '"ap_fixed<64,6>"', "FixedPoint width must be between 1 and 63 bits, not 64"),
        (
            '"ap_fixed<10,6>"',
            '"ap_ufixed<10,6>"',
            "input_type must read ap_fixed<width,integer>, not 'ap_ufixed<10,6>'",
        ),
        (
            '"ap_fixed<10,6>"',
            '"ap_fixed<10,6,AP_RND,AP_SAT>"',
            "input_type must read ap_fixed<width,integer>, not 'ap_fixed<10,6,AP_RND,AP_SAT>'",
        ),
        (
            '"ap_ufixed<10,5>"',
            '"ap_fixed<10,5>"',
            "activation_type must read ap_ufixed<width,integer>, not 'ap_fixed<10,5>'",
        ),
        ("clock_ns = 5.0", "clock_ns = 0", "tiny.toml.firmware: firmware clock_ns must be positive, not 0.0"),
        ("clock_ns = 5.0", "reuse_factor = 0", "tiny.toml.firmware: firmware reuse_factor must be at least 1, not 0"),
        ("clock_ns = 5.0", "strategy = 'latency'", "firmware strategy must be one of ('Latency', 'Resource')"),
        (
            "n_bootstrap = 20",
            'names = ["Tight"]',
            "tiny.toml.rate: names must be as many and different as targets_khz, (10.0, 2000.0), not ('Tight',)",
        ),
        ("[rtl]", "[rtl]\ninterval_cycles = 6", "rtl: interval_cycles must be from 1 to clocks_per_bx, 5, not 6"),
        ("[rtl]", "[rtl]\ninterval_cycles = 0", "rtl: interval_cycles must be from 1 to clocks_per_bx, 5, not 0"),
        ("targets_khz = [10, 2000]", "targets_khz = [10, -1]", "targets_khz must be positive rates, not (10.0, -1.0)"),
        ("targets_khz = [10, 2000]", "targets_khz = []", "targets_khz must be positive rates, not ()"),
        ("compared_khz = [10, 2000]", "compared_khz = [0]", "compared_khz must be positive rates, not (0.0,)"),
        ("n_bootstrap = 20", "n_bootstrap = 1", "n_bootstrap must be at least 2, not 1"),
        ("n_bootstrap = 20", "colliding_bunches = 0", "colliding_bunches must be from 1 to 3564, not 0"),
        ("n_bootstrap = 20", "colliding_bunches = 2544.0", "colliding_bunches must be of type int, not 2544.0"),
        (
            "n_bootstrap = 20",
            "revolution_hz = 11425",
            "revolution_hz must be 11245.5 (c / 26658.883 m) within 0.1 %, not 11425.0; "
            "11425 is a published swap of two digits, 1.6 % high; use 11245.5",
        ),
    ],
)
def test_a_wrong_study_is_refused_with_file_and_key(old, new, text, read):
    with pytest.raises(ValueError, match=re.escape(text)) as caught:
        read(old, new)
    assert "tiny.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_study_is_named(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"study must be an existing TOML file, not '.*none\.toml'; try configs/"
    ):
        load_study(tmp_path / "none.toml")
    with pytest.raises(FileNotFoundError, match="study must be an existing TOML file"):
        load_study(tmp_path)


@pytest.mark.parametrize("content", [b'name = "tiny', b"name = tiny", b"\xff\xfe", b"name = 'a'\nname = 'b'\n"])
def test_what_is_no_toml_is_refused(content, tmp_path):
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.toml: study must be valid TOML: "):
        load_study(path)
