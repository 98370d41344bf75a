"""Curves through rates: constant, linear, quadratic, exponential, with χ², covariance and projection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import curve_fit
from scipy.stats import chi2

from l1ad.trigger.rates import Rate
from l1ad.trigger.samples import BoolArray, FloatArray
from l1ad.trigger.stability.parts import RatesBy

Form = Literal["constant", "linear", "quadratic", "exponential"]
_PARAMETERS: dict[Form, int] = {"constant": 1, "linear": 2, "quadratic": 3, "exponential": 2}


@dataclass(frozen=True)
class Fit:
    """A curve through rates.

    Attributes
    ----------
    form : str
        With d = x - `reference`: a, a + b d, a + b d + c d², or a exp(b d).
    reference : float
    parameters : tuple of float
        a, b, c; rates in Hz.
    covariance : tuple of tuple of float
        Of the parameters.
    chi2 : float
    ndf : int
    low, high : float
        Range of x fitted; beyond it a projection is an extrapolation.
    """

    form: Form
    reference: float
    parameters: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    chi2: float
    ndf: int
    low: float
    high: float

    @property
    def p_value(self) -> float:
        """Probability of a larger χ²."""
        return float(chi2.sf(self.chi2, self.ndf))

    def __str__(self) -> str:
        return f"{self.form}, χ² {self.chi2:.1f} of {self.ndf}, p {self.p_value:.2g}"


@dataclass(frozen=True)
class NoFit:
    """What stands in place of a fit that the rates do not support."""

    form: Form
    reason: str

    def __str__(self) -> str:
        return f"{self.form} refused: {self.reason}"


@dataclass(frozen=True, eq=False)
class Projection:
    """A fit at any x, with its standard error from the covariance of the parameters; arrays of shape (n,)."""

    x: FloatArray
    values_hz: FloatArray
    errors_hz: FloatArray
    extrapolated: BoolArray


def fit(rates: RatesBy, form: Form) -> Fit | NoFit:
    """Least squares through the parts that have a rate, with their covariance.

    The error of a part is scaled to the rate fitted there (Pearson's χ²), which takes a few rounds: with the error of
    the rate found, low fluctuations would pull more than high ones.  Parts whose rate is refused are left out, which
    favours high fluctuations among them: choose parts that all have rates (`parts.finest_by_pileup`).
    """
    if form not in _PARAMETERS:
        raise ValueError(f"form must be one of {', '.join(_PARAMETERS)}, not {form!r}")
    used = np.array([isinstance(rate, Rate) for rate in rates.rates])
    needed = _PARAMETERS[form] + 1
    if used.sum() < needed:
        return NoFit(form, f"{used.sum()} of {len(used)} parts have a rate, {needed} are needed")
    x, y, found = rates.x[used], rates.values_hz[used], rates.covariance_hz2[np.ix_(used, used)]
    if len(np.unique(x)) < needed:
        return NoFit(form, f"parts must differ in x, not be at {np.unique(x)}")
    reference = float(np.average(x, weights=1 / np.diag(found)))
    d, start = x - reference, [float(y.mean())] + [0.0] * (_PARAMETERS[form] - 1)
    apart = not np.any(found - np.diag(np.diag(found)))
    fitted = y
    try:
        for _ in range(50):
            before, scale = fitted, np.sqrt(np.clip(fitted / y, 0.2, 5.0))
            covariance = found * np.outer(scale, scale)
            best, errors = curve_fit(
                lambda at, *p: _curve(form, at, np.array(p)),
                d,
                y,
                start,
                np.sqrt(np.diag(covariance)) if apart else covariance,
                absolute_sigma=True,
                jac=lambda at, *p: _slopes(form, at, np.array(p)),
            )
            start, fitted = list(best), _curve(form, d, best)
            if np.allclose(fitted, before, rtol=1e-9, atol=0):
                break
    except (RuntimeError, np.linalg.LinAlgError) as error:
        return NoFit(form, f"no minimum: {error}")
    off = y - fitted
    return Fit(
        form,
        reference,
        tuple(float(p) for p in best),
        tuple(tuple(float(c) for c in row) for row in errors),
        float(off @ np.linalg.solve(covariance, off)),
        int(used.sum()) - _PARAMETERS[form],
        float(x.min()),
        float(x.max()),
    )


def project(fit: Fit, x: npt.ArrayLike) -> Projection:
    """A fit at a pileup, or at many, with its error."""
    at = np.atleast_1d(np.asarray(x, np.float64))
    d, parameters = at - fit.reference, np.array(fit.parameters)
    slopes = _slopes(fit.form, d, parameters)
    errors = np.sqrt(np.einsum("ni,ij,nj->n", slopes, np.array(fit.covariance), slopes))
    return Projection(at, _curve(fit.form, d, parameters), errors, (at < fit.low) | (at > fit.high))


def _curve(form: Form, d: FloatArray, p: FloatArray) -> FloatArray:
    if form == "exponential":
        return np.asarray(p[0] * np.exp(p[1] * d))
    return np.asarray(np.polynomial.polynomial.polyval(d, p))


def _slopes(form: Form, d: FloatArray, p: FloatArray) -> FloatArray:
    """Derivatives of a curve by its parameters, shape (n, parameters)."""
    if form == "exponential":
        growth = np.exp(p[1] * d)
        return np.stack([growth, p[0] * d * growth], axis=1)
    return np.asarray(np.vander(d, len(p), increasing=True))
