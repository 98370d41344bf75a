-- Written by hand, in the shape of the top of Vivado HLS; the numbers are of no design.
library IEEE;
use IEEE.std_logic_1164.all;

entity older is
port (
    ap_clk : IN STD_LOGIC;
    ap_rst : IN STD_LOGIC );
end;


architecture behav of older is
    attribute CORE_GENERATION_INFO : STRING;
    attribute CORE_GENERATION_INFO of behav : architecture is
    "older,hls_ip_2019_1,{HLS_INPUT_TYPE=cxx,HLS_INPUT_FLOAT=0,HLS_INPUT_FIXED=1,HLS_INPUT_PART=xc7k325tffg900-2,HLS_INPUT_CLOCK=5.000000,HLS_INPUT_ARCH=pipeline,HLS_SYN_CLOCK=4.374600,HLS_SYN_LAT=14,HLS_SYN_TPT=1,HLS_SYN_MEM=0,HLS_SYN_DSP=8,HLS_SYN_FF=1321,HLS_SYN_LUT=2412,HLS_VERSION=2019_1}";

begin
    process (ap_clk)
    begin
    end process;
end behav;
