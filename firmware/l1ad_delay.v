// design  @design@
// network @network@
//
// A value so many clocks later; zero after a reset.
`default_nettype none
module l1ad_delay #(
    parameter WIDTH = 1,
    parameter CLOCKS = 1
) (
    input  wire             clk,
    input  wire             rst,
    input  wire [WIDTH-1:0] now,
    output wire [WIDTH-1:0] later
);
    wire [(CLOCKS+1)*WIDTH-1:0] way;
    assign way[WIDTH-1:0] = now;
    assign later = way[CLOCKS*WIDTH +: WIDTH];

    genvar i;
    generate
        if (CLOCKS == 0) begin : none
            wire unused = clk ^ rst;
        end
        for (i = 0; i < CLOCKS; i = i + 1) begin : stage
            reg [WIDTH-1:0] kept;
            always @(posedge clk) kept <= rst ? {WIDTH{1'b0}} : way[i*WIDTH +: WIDTH];
            assign way[(i+1)*WIDTH +: WIDTH] = kept;
        end
    endgenerate
endmodule
`default_nettype wire
