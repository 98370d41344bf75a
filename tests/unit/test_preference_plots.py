"""Pictures of what a trigger prefers, and of what is refused, missing or empty."""

import base64

import numpy as np
import pytest

from l1ad.study import preference_plots as plots
from l1ad.trigger.efficiency import binomial
from l1ad.trigger.preferences.accepted import Anomaly, Overlap, Spectrum, TriggerObject
from l1ad.trigger.preferences.confusion import confusion, plane
from l1ad.trigger.rates import Rate, Refused

REFUSED = Refused(3.0, 4, "add events")
RATE = Rate(9.9e3, 1.2e3, 68.0, 70, "simulated, before dead time")
JET = TriggerObject("jet", 120.0, 1.2, 3.1, False)
EVENT = (
    TriggerObject("met", 80.0, None, 6.2, False),
    TriggerObject("ht", 300.0, None, None, False),
    TriggerObject("eg", 20.0, -5.0, 0.0, False),
    TriggerObject("tau", 255.5, 1.2, 3.1, True),
    TriggerObject("mu", 12.0, 1.25, 3.1, False),
    JET,
    TriggerObject("jet", 5.0, -0.2, -3.1, False),
)


def assert_picture(text):
    kind, data = text.split(",", 1)
    assert kind == "data:image/png;base64"
    assert base64.b64decode(data, validate=True).startswith(b"\x89PNG")


def spectrum(quantity="multiplicity", accepted=(0.0, 1.0, 0.0), everything=(0.9, 0.1, 1e-9), collection="jet"):
    unit = "1" if quantity == "multiplicity" else "GeV"
    return Spectrum(collection, quantity, unit, -0.5, 1.0, everything, (0.0,) * 3, accepted, (0.1,) * 3)


@pytest.mark.parametrize("n", [1, 5])
def test_spectra(n):
    found = [spectrum(), spectrum("leading pt")] * n + [spectrum("leading pt", collection="met")]
    assert_picture(plots.spectra(found, "multiplicity", "vae at 10 kHz"))
    assert_picture(plots.spectra(found, "leading pt", "vae at 10 kHz"))


def test_spectra_of_nothing():
    assert_picture(plots.spectra([spectrum(accepted=(0.0,) * 3, everything=(0.0,) * 3)], "multiplicity", "vae"))
    with pytest.raises(ValueError, match="spectra must hold one of 'leading pt' at least, not none"):
        plots.spectra([spectrum()], "leading pt", "vae")


@pytest.mark.parametrize("of_seed", [binomial(0.3, 50), REFUSED])
def test_overlaps(of_seed):
    found = [Overlap("HTT360er", RATE, binomial(0.0, 50), of_seed), Overlap("any seed", REFUSED, REFUSED, of_seed)]
    assert_picture(plots.seed_overlap(found, "vae at 10 kHz", RATE.stage))


@pytest.mark.parametrize("target_hz", [1e4, 10.0])
def test_two_detectors(target_hz):
    rng = np.random.default_rng(1)
    scores = {"vae": rng.integers(0, 999, 5000), "autoencoder": rng.integers(0, 99, 5000)}
    weights = np.full(5000, 1 / 5000)
    at = confusion(scores, weights, target_hz, 1e5, simulated=True)
    assert isinstance(at, Refused) == (target_hz == 10)
    assert_picture(plots.two_detectors(plane(scores, weights), at, 1e5))


@pytest.mark.parametrize("objects", [EVENT, (), (JET,)], ids=["many", "none", "one"])
@pytest.mark.parametrize("n", [1, 3])
def test_displays(objects, n):
    seeds = tuple(f"SomeLongSeedName{i}er2p5" for i in range(6)) if objects else ()
    assert_picture(plots.displays([Anomaly(5, 700, 2e-9, seeds, objects)] * n, 2.0**-4))


def test_no_event_to_show():
    with pytest.raises(ValueError, match="events to be shown must be at least one, not none"):
        plots.displays([], 1.0)
