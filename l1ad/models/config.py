"""What a trigger model is, as a study states it; no TensorFlow is needed to read it."""

from __future__ import annotations

from dataclasses import dataclass

from l1ad.fixed import FixedPoint

KINDS = ("autoencoder", "vae")


@dataclass(frozen=True)
class ModelConfig:
    """Architecture, types and training of one trigger model.

    Types are written as in C++ (``ap_fixed<width,integer>``, integer bits counting the sign); all round half to
    even and saturate, as QKeras does.

    Parameters
    ----------
    kind : str
        ``autoencoder``: score sum (x - xhat)**2; ``vae``: encoder in hardware, score sum mu**2.
    hidden : tuple of int
        Units of the encoder's hidden layers; the decoder mirrors them.
    latent : int
        Units of the bottleneck, or latent dimensions.
    input_type, weight_type, bias_type, activation_type, latent_type : str
        Scaled inputs (and reconstruction); weights; biases; hidden layers; bottleneck.
    float_epochs, quantised_epochs : int
        Of the float twin; then of the quantised model, which starts from the twin's weights.
    batch_size : int
    learning_rate : float
        Initial one of Adam; it falls to 0 along a cosine.
    beta : float
        Weight of the KL term of the VAE's loss ``(1 - beta) * reconstruction + beta * KL``.
    sparsity : float
        Share of the weights of each dense layer in hardware that are pruned, the smallest by magnitude: they are 0.
    """

    kind: str
    hidden: tuple[int, ...]
    latent: int
    input_type: str
    weight_type: str
    bias_type: str
    activation_type: str
    latent_type: str
    float_epochs: int
    quantised_epochs: int
    batch_size: int
    learning_rate: float
    beta: float = 0.0
    sparsity: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"model kind must be one of {KINDS}, not {self.kind!r}")
        if (self.kind == "vae") != (self.beta > 0) or not 0 <= self.beta < 1:
            raise ValueError(f"model beta must be between 0 and 1 for a vae and absent for others, not {self.beta}")
        for name in ("latent", "float_epochs", "quantised_epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"model {name} must be at least 1, not {getattr(self, name)}")
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"model hidden must be positive layer sizes, not {self.hidden}")
        if not self.learning_rate > 0:
            raise ValueError(f"model learning_rate must be positive, not {self.learning_rate}")
        if not 0 <= self.sparsity < 1:
            raise ValueError(f"model sparsity must be at least 0 and below 1, not {self.sparsity}")
        for name, signed in (
            ("input", True),
            ("weight", True),
            ("bias", True),
            ("activation", False),
            ("latent", True),
        ):
            kind = FixedPoint.parse(getattr(self, f"{name}_type"))
            if kind.signed is not signed or (kind.rounding, kind.overflow) != ("TRN", "WRAP"):
                form = "ap_fixed<width,integer>" if signed else "ap_ufixed<width,integer>"
                raise ValueError(f"model {name}_type must read {form}, not {getattr(self, f'{name}_type')!r}")
            if kind.width - kind.frac < signed:
                raise ValueError(
                    f"model {name}_type must have at least {int(signed)} integer bits, as QKeras needs, not "
                    f"{getattr(self, f'{name}_type')!r}"
                )
