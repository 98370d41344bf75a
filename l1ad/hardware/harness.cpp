// Drives a Verilator model clock by clock: what stands at its inputs and outputs at each rising edge.
//
//     harness GIVEN MADE SEED
//
// GIVEN holds the inputs of each clock, MADE gets the outputs.  The registers start at random values.
#include "Vbench.h"
#include "verilated.h"
#include <cstdio>
#include <cstdlib>

int main(int, char **arguments) {
    VerilatedContext context;
    context.randReset(2);
    context.randSeed(std::atoi(arguments[3]));
    Vbench bench(&context);
    std::FILE *given = std::fopen(arguments[1], "rb"), *made = std::fopen(arguments[2], "wb");
    if (!given || !made) {
        std::perror("harness");
        return 1;
    }
    while (std::fread(&bench.given, sizeof bench.given, 1, given) == 1) {
        bench.clk = 0;
        bench.eval();
        std::fwrite(&bench.made, sizeof bench.made, 1, made);
        bench.clk = 1;
        bench.eval();
    }
    return std::ferror(given) || std::ferror(made) || std::fclose(made);
}
