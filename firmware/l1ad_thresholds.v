// design  @design@
// network @network@
//
// Threshold registers of all working points, and the comparison with them, one clock long.
//
// Each register is doubled.  The write port fills the copy that nothing is compared with; load takes all copies over at
// once.  An event is so judged by thresholds of one load.  A reset puts the defaults back into both.
`default_nettype none
module l1ad_thresholds #(
    parameter WIDTH = 1,
    parameter SIGNED = 0,
    parameter POINTS = 1,
    parameter ADDRESS = 1,
    parameter [POINTS*WIDTH-1:0] DEFAULTS = 0
) (
    input  wire               clk,
    input  wire               rst,
    input  wire               write,
    input  wire [ADDRESS-1:0] address,
    input  wire [WIDTH-1:0]   data,
    input  wire               load,
    input  wire               valid,
    input  wire [WIDTH-1:0]   score,
    output wire [POINTS-1:0]  accept
);
    genvar i;
    generate
        for (i = 0; i < POINTS; i = i + 1) begin : point
            localparam [WIDTH-1:0] DEFAULT = DEFAULTS[i*WIDTH +: WIDTH];
            reg [WIDTH-1:0] written, used;
            reg accepted;
            wire reached = SIGNED != 0 ? $signed(score) >= $signed(used) : score >= used;
            assign accept[i] = accepted;

            always @(posedge clk) begin
                accepted <= !rst && valid && reached;
                if (rst) written <= DEFAULT;
                else if (write && address == i[ADDRESS-1:0]) written <= data;
                if (rst) used <= DEFAULT;
                else if (load) used <= written;
            end
        end
    endgenerate
endmodule
`default_nettype wire
