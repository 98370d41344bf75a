"""A small design, and the board-side firmware around it."""

from l1ad.hardware.firmware import write_firmware
from l1ad.hardware.rtl.design import Design, Port

PART = "xcvu13p-flga2577-2-e"
ONE = ("one point", 1, False, 1, (40,))
THREE = ("three points", 5, True, 5, (100, -5, 300))
"""Name, latency and sign of the core, clocks per BX, default thresholds."""


def core(latency, signed, network="0" * 64):
    """score = 3 a + b, in 11 bits."""
    sign = "signed" if signed else ""
    text = f"""
module core (
    input  wire clk,
    input  wire rst,
    input  wire valid_in,
    input  wire {sign} [10:0] threshold,
    input  wire {sign} [7:0] a,
    input  wire [5:0] b,
    output wire valid_out,
    output wire {sign} [10:0] score,
    output wire accept
);
    reg [{latency - 1}:0] valid;
    reg {sign} [10:0] sum[0:{latency - 1}];
    reg accepted;
    wire {sign} [10:0] now = 11'{"s" if sign else ""}d3 * {{{{3{{{"a[7]" if sign else "1'b0"}}}}}, a}} + {{5'd0, b}};
    integer i;
    always @(posedge clk) begin
        valid[0] <= valid_in && !rst;
        sum[0] <= now;
        for (i = 1; i < {latency}; i = i + 1) begin
            valid[i] <= valid[i-1] && !rst;
            sum[i] <= sum[i-1];
        end
        accepted <= now >= threshold;
    end
    assign valid_out = valid[{latency - 1}];
    assign score = sum[{latency - 1}];
    assign accept = accepted;
endmodule
"""
    inputs = (Port("a", 8, signed), Port("b", 6, False))
    return Design("core", network, inputs, Port("score", 11, signed), 5.0, latency, 1, {"core.v": text.lstrip()})


def write(folder, kind=THREE, **changed):
    _, latency, signed, clocks, thresholds = kind
    arguments = {"part": PART, "thresholds": thresholds, "clocks_per_bx": clocks} | changed
    return write_firmware(arguments.pop("design", core(latency, signed)), folder, **arguments)
