"""Reports of Vitis HLS, Vivado HLS and Vivado: parsed, found in folders, and made where the tools are installed."""
