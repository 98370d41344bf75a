// design  @design@
// network @network@
//
// Number of the bunch crossing, 0 to 3563, whose objects stand at the inputs.
//
// It counts clocks, not events: an event that is missing shifts nothing.  bx0 is high for one clock, the first of
// crossing 0, and the number is 0 in that very clock.  Without another bx0 it goes on after 3563 with 0.  After a reset
// it counts from 0, which is the number of no crossing in particular until bx0 comes.
`default_nettype none
module l1ad_crossing #(
    parameter CLOCKS_PER_BX = 1
) (
    input  wire        clk,
    input  wire        rst,
    input  wire        bx0,
    output wire [11:0] bx
);
    localparam BITS = $clog2(CLOCKS_PER_BX + 1);
    localparam [BITS-1:0] LAST_CLOCK = CLOCKS_PER_BX[BITS-1:0] - 1'b1;
    localparam [11:0] LAST_BX = 12'd3563;

    // what this clock is without bx0
    reg [11:0] count;
    reg [BITS-1:0] phase;

    wire [BITS-1:0] clock = bx0 ? {BITS{1'b0}} : phase;
    wire last = clock == LAST_CLOCK;
    assign bx = bx0 ? 12'd0 : count;

    always @(posedge clk)
        if (rst) begin
            count <= 12'd0;
            phase <= {BITS{1'b0}};
        end else begin
            count <= !last ? bx : bx == LAST_BX ? 12'd0 : bx + 12'd1;
            phase <= last ? {BITS{1'b0}} : clock + 1'b1;
        end
endmodule
`default_nettype wire
