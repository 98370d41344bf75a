"""The errors a caller may want to handle.  Bad arguments raise ``ValueError`` or ``TypeError``."""


class UnsupportedError(Exception):
    """A model, layer, quantiser or operation that l1ad cannot represent exactly."""


class ToolNotFoundError(Exception):
    """An external program (C++ compiler, Vitis HLS) that is needed and is not installed."""


class MismatchError(Exception):
    """Two executors of one network disagree; the text names the operation and the event."""
