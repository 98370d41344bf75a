"""Register-transfer level: Verilog from a network."""
