// Written by hand, in the shape of the top of Vitis HLS; the numbers are of no design.
`timescale 1 ns / 1 ps

(* CORE_GENERATION_INFO="l1ad_l1ad,hls_ip_2023_2,{HLS_INPUT_TYPE=cxx,HLS_INPUT_PART=xcvu13p-flga2577-2-e,HLS_INPUT_CLOCK=2.500000,HLS_INPUT_ARCH=others,HLS_SYN_CLOCK=1.801000,HLS_SYN_LAT=-1,HLS_SYN_TPT=none,HLS_SYN_MEM=2,HLS_SYN_DSP=57,HLS_SYN_FF=4242,HLS_SYN_LUT=17171,HLS_VERSION=2023_2}" *)

module l1ad (
        ap_clk
);

input   ap_clk;

endmodule //l1ad
