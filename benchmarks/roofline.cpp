// What one core of this CPU can do at most: multiply-accumulates a second by instruction set, and bytes read.
//
//     roofline [ROUNDS]      prints one JSON object; every figure is a median, in CPU time of the thread
//
// A kernel keeps 12 independent accumulators in registers (a step waits 4 cycles for its own, and 2 begin in each), or
// 8 where every step also broadcasts a pair (int16), four (int8) or one (fp32) of its operands from memory, which is
// how a layer meets its weights.  Empty asm statements hold every accumulator, so that no step is merged or hoisted.
// An instruction set of which only 256 bits of a register are used says so; `avx512bw` and `avx2` add up what
// vpmaddwd multiplies, for int8 behind a vpmaddubsw; `portable` is SSE2 or plain loops.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>
#include <vector>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace {

alignas(64) std::int32_t table[64]; // operands that the compiler cannot know
long sink;

double now() {
    timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}

// adds that wait for each other: one cycle each
void cycles(long steps) {
    long x = 1, y = sink;
    for (long i = 0; i < steps; i++) {
#if defined(__x86_64__)
#define ADD "add %1, %0\n\t"
#elif defined(__aarch64__)
#define ADD "add %0, %0, %1\n\t"
#else
#define ADD ""
#endif
        asm volatile(ADD ADD ADD ADD ADD ADD ADD ADD ADD ADD ADD ADD ADD ADD ADD ADD : "+r"(x) : "r"(y));
    }
    sink += x & 1;
}

// clang-format off
#define EACH12(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11)
#define EACH8(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7)
// clang-format on
#define DECLARE(i) VECTOR a##i = ZERO;
#define STEP(i)                                                                                                        \
    a##i = FROM_REGISTER(a##i);                                                                                        \
    asm volatile("" : HOLD(a##i));
#define LOAD_STEP(i)                                                                                                   \
    a##i = FROM_MEMORY(a##i, table[i + 8 * (n & 1)]);                                                                  \
    asm volatile("" : HOLD(a##i));
#define ADD_UP(i) sink += LOWEST(a##i);

// `name`: operands in registers; `name`_loads: one broadcast load each step
#define KERNEL(name, features)                                                                                         \
    features void name(long steps) {                                                                                   \
        VECTOR x = LOAD(table), y = LOAD(table + 16);                                                                  \
        EACH12(DECLARE)                                                                                                \
        for (long n = 0; n < steps; n++) {                                                                             \
            EACH12(STEP)                                                                                               \
        }                                                                                                              \
        (void)y;                                                                                                       \
        EACH12(ADD_UP)                                                                                                 \
    }                                                                                                                  \
    features void name##_loads(long steps) {                                                                           \
        VECTOR x = LOAD(table), y = LOAD(table + 16);                                                                  \
        EACH8(DECLARE)                                                                                                 \
        for (long n = 0; n < steps; n++) {                                                                             \
            asm volatile("" ::: "memory");                                                                             \
            EACH8(LOAD_STEP)                                                                                           \
        }                                                                                                              \
        (void)y;                                                                                                       \
        EACH8(ADD_UP)                                                                                                  \
    }

#if defined(__x86_64__)

#define X86(list) __attribute__((target(list), noinline))
#define VECTOR __m512i
#define ZERO _mm512_setzero_si512()
#define LOAD(p) _mm512_load_si512(p)
#define HOLD(a) "+v"(a)
#define LOWEST(a) _mm_cvtsi128_si32(_mm512_castsi512_si128(a))
#define FROM_REGISTER(a) _mm512_dpwssd_epi32(a, x, y)
#define FROM_MEMORY(a, m) _mm512_dpwssd_epi32(a, x, _mm512_set1_epi32(m))
KERNEL(int16_vnni512, X86("avx512f,avx512bw,avx512vl,avx512vnni"))
#undef FROM_REGISTER
#undef FROM_MEMORY
#define FROM_REGISTER(a) _mm512_dpbusd_epi32(a, x, y)
#define FROM_MEMORY(a, m) _mm512_dpbusd_epi32(a, x, _mm512_set1_epi32(m))
KERNEL(int8_vnni512, X86("avx512f,avx512bw,avx512vl,avx512vnni"))
#undef FROM_REGISTER
#undef FROM_MEMORY
#define FROM_REGISTER(a) _mm512_add_epi32(a, pairs512(x, y))
#define FROM_MEMORY(a, m) _mm512_add_epi32(a, pairs512(x, _mm512_set1_epi32(m)))
// volatile: products of the same registers would else be taken out of the loop
__attribute__((target("avx512f,avx512bw"), always_inline)) inline __m512i pairs512(__m512i x, __m512i y) {
    __m512i product;
    asm volatile("vpmaddwd %2, %1, %0" : "=v"(product) : "v"(x), "v"(y));
    return product;
}
KERNEL(int16_bw, X86("avx512f,avx512bw"))
#undef FROM_REGISTER
#undef FROM_MEMORY
__attribute__((target("avx512f,avx512bw"), always_inline)) inline __m512i fours512(__m512i x, __m512i y, __m512i one) {
    __m512i product;
    asm volatile("vpmaddubsw %2, %1, %0" : "=v"(product) : "v"(x), "v"(y));
    return _mm512_madd_epi16(product, one);
}
#define FROM_REGISTER(a) _mm512_add_epi32(a, fours512(x, y, y))
#define FROM_MEMORY(a, m) _mm512_add_epi32(a, fours512(x, _mm512_set1_epi32(m), y))
KERNEL(int8_bw, X86("avx512f,avx512bw"))
#undef VECTOR
#undef ZERO
#undef LOAD
#undef HOLD
#undef LOWEST
#undef FROM_REGISTER
#undef FROM_MEMORY

#define VECTOR __m256i
#define ZERO _mm256_setzero_si256()
#define LOAD(p) _mm256_load_si256(reinterpret_cast<const __m256i *>(p))
#define HOLD(a) "+x"(a)
#define LOWEST(a) _mm_cvtsi128_si32(_mm256_castsi256_si128(a))
#define FROM_REGISTER(a) _mm256_dpwssd_epi32(a, x, y)
#define FROM_MEMORY(a, m) _mm256_dpwssd_epi32(a, x, _mm256_set1_epi32(m))
KERNEL(int16_vnni256, X86("avx512f,avx512bw,avx512vl,avx512vnni"))
#undef FROM_REGISTER
#undef FROM_MEMORY
#define FROM_REGISTER(a) _mm256_dpbusd_epi32(a, x, y)
#define FROM_MEMORY(a, m) _mm256_dpbusd_epi32(a, x, _mm256_set1_epi32(m))
KERNEL(int8_vnni256, X86("avx512f,avx512bw,avx512vl,avx512vnni"))
#undef FROM_REGISTER
#undef FROM_MEMORY
__attribute__((target("avx2"), always_inline)) inline __m256i pairs256(__m256i x, __m256i y) {
    __m256i product;
    asm volatile("vpmaddwd %2, %1, %0" : "=x"(product) : "x"(x), "x"(y));
    return product;
}
#define FROM_REGISTER(a) _mm256_add_epi32(a, pairs256(x, y))
#define FROM_MEMORY(a, m) _mm256_add_epi32(a, pairs256(x, _mm256_set1_epi32(m)))
KERNEL(int16_avx2, X86("avx2"))
#undef FROM_REGISTER
#undef FROM_MEMORY
__attribute__((target("avx2"), always_inline)) inline __m256i fours256(__m256i x, __m256i y, __m256i one) {
    __m256i product;
    asm volatile("vpmaddubsw %2, %1, %0" : "=x"(product) : "x"(x), "x"(y));
    return _mm256_madd_epi16(product, one);
}
#define FROM_REGISTER(a) _mm256_add_epi32(a, fours256(x, y, y))
#define FROM_MEMORY(a, m) _mm256_add_epi32(a, fours256(x, _mm256_set1_epi32(m), y))
KERNEL(int8_avx2, X86("avx2"))
#undef VECTOR
#undef ZERO
#undef LOAD
#undef HOLD
#undef LOWEST
#undef FROM_REGISTER
#undef FROM_MEMORY

#define VECTOR __m128i
#define ZERO _mm_setzero_si128()
#define LOAD(p) _mm_load_si128(reinterpret_cast<const __m128i *>(p))
#define HOLD(a) "+x"(a)
#define LOWEST(a) _mm_cvtsi128_si32(a)
__attribute__((always_inline)) inline __m128i pairs128(__m128i x, __m128i y) {
    asm volatile("pmaddwd %1, %0" : "+x"(x) : "x"(y));
    return x;
}
#define FROM_REGISTER(a) _mm_add_epi32(a, pairs128(x, y))
#define FROM_MEMORY(a, m) _mm_add_epi32(a, pairs128(x, _mm_set1_epi32(m)))
KERNEL(int16_sse2, __attribute__((noinline)))
#undef VECTOR
#undef ZERO
#undef LOAD
#undef HOLD
#undef LOWEST
#undef FROM_REGISTER
#undef FROM_MEMORY

#define VECTOR __m512
#define ZERO _mm512_setzero_ps()
#define LOAD(p) _mm512_load_ps(p)
#define HOLD(a) "+v"(a)
#define LOWEST(a) static_cast<long>(_mm512_cvtss_f32(a))
#define FROM_REGISTER(a) _mm512_fmadd_ps(x, y, a)
#define FROM_MEMORY(a, m) _mm512_fmadd_ps(x, _mm512_castsi512_ps(_mm512_set1_epi32(m)), a)
KERNEL(fp32_avx512, X86("avx512f"))
#undef VECTOR
#undef ZERO
#undef LOAD
#undef HOLD
#undef LOWEST
#undef FROM_REGISTER
#undef FROM_MEMORY
#define VECTOR __m256
#define ZERO _mm256_setzero_ps()
#define LOAD(p) _mm256_load_ps(reinterpret_cast<const float *>(p))
#define HOLD(a) "+x"(a)
#define LOWEST(a) static_cast<long>(_mm256_cvtss_f32(a))
#define FROM_REGISTER(a) _mm256_fmadd_ps(x, y, a)
#define FROM_MEMORY(a, m) _mm256_fmadd_ps(x, _mm256_castsi256_ps(_mm256_set1_epi32(m)), a)
KERNEL(fp32_avx2, X86("avx2,fma"))
#undef VECTOR
#undef ZERO
#undef LOAD
#undef HOLD
#undef LOWEST
#undef FROM_REGISTER
#undef FROM_MEMORY

#elif defined(__aarch64__)

#define PLAIN __attribute__((noinline))
#define VECTOR int32x4_t
#define ZERO vdupq_n_s32(0)
#define LOAD(p) vld1q_s32(p)
#define HOLD(a) "+w"(a)
#define LOWEST(a) vgetq_lane_s32(a, 0)
#define LOW(v) vget_low_s16(vreinterpretq_s16_s32(v))
#define FROM_REGISTER(a) vmlal_s16(a, LOW(x), LOW(y))
#define FROM_MEMORY(a, m) vmlal_s16(a, LOW(x), vreinterpret_s16_s32(vdup_n_s32(m)))
KERNEL(int16_neon, PLAIN)
#undef FROM_REGISTER
#undef FROM_MEMORY
#if defined(__ARM_FEATURE_DOTPROD)
#define BYTES(v) vreinterpretq_s8_s32(v)
#define FROM_REGISTER(a) vdotq_s32(a, BYTES(x), BYTES(y))
#define FROM_MEMORY(a, m) vdotq_s32(a, BYTES(x), BYTES(vdupq_n_s32(m)))
KERNEL(int8_neon, PLAIN)
#undef FROM_REGISTER
#undef FROM_MEMORY
#endif
#undef VECTOR
#undef ZERO
#undef LOAD
#undef LOWEST
#define VECTOR float32x4_t
#define ZERO vdupq_n_f32(0)
#define LOAD(p) vld1q_f32(reinterpret_cast<const float *>(p))
#define LOWEST(a) static_cast<long>(vgetq_lane_f32(a, 0))
#define FROM_REGISTER(a) vfmaq_f32(a, x, y)
#define FROM_MEMORY(a, m) vfmaq_f32(a, x, vreinterpretq_f32_s32(vdupq_n_s32(m)))
KERNEL(fp32_neon, PLAIN)

#endif

// what a compiler makes of plain loops, with no flag that names a CPU: a layer of 64 inputs and 32 outputs
__attribute__((noinline)) void portable(long steps) {
    static std::int16_t weight[32][64], x[64];
    static std::int32_t sums[32];
    for (long n = 0; n < steps; n++) {
        asm volatile("" : : "r"(weight), "r"(x), "r"(sums) : "memory");
        for (int j = 0; j < 32; j++) {
            std::int32_t sum = 0;
            for (int i = 0; i < 64; i++)
                sum += weight[j][i] * x[i];
            sums[j] = sum;
        }
    }
}

std::vector<std::int64_t> memory;

typedef std::int64_t Quarter __attribute__((vector_size(16), aligned(8)));

// sums of whole lines of 64 bytes; one step is one pass over the first `bytes`
template <long bytes> __attribute__((noinline)) void reads(long steps) {
    for (long n = 0; n < steps; n++) {
        const auto *p = reinterpret_cast<const Quarter *>(memory.data()), *end = p + bytes / sizeof(Quarter);
        asm volatile("" : "+r"(p) : : "memory");
        Quarter first = {}, second = {}, third = {}, fourth = {};
        for (; p < end; p += 4) {
            first += p[0];
            second += p[1];
            third += p[2];
            fourth += p[3];
        }
        first += second + third + fourth;
        sink += first[0] + first[1];
    }
}

struct Kernel {
    const char *kind, *isa, *pattern;
    void (*run)(long);
    double work; // of one step
    bool can;
};

double rate(const Kernel &kernel, double seconds) {
    long steps = 1;
    for (;;) {
        const double start = now();
        kernel.run(steps);
        const double spent = now() - start;
        if (spent >= seconds)
            return kernel.work * static_cast<double>(steps) / spent * 1e-9;
        steps = std::max(2 * steps, static_cast<long>(1.1 * seconds / (spent + 1e-7) * static_cast<double>(steps)));
    }
}

} // namespace

int main(int count, char **arguments) {
    const int rounds = count > 1 ? std::atoi(arguments[1]) : 9;
    for (int i = 0; i < 64; i++)
        table[i] = 0x3f803f80 + i; // about 1 as a float, 16256 twice as int16
    asm volatile("" ::: "memory");
    constexpr long dram = 1L << 29, near = 1L << 19;
    memory.assign(dram / 8, 1);
    std::vector<Kernel> kernels{{"cycles", "any", "dependent adds", cycles, 16, true}};
#if defined(__x86_64__)
    // asked of the CPU and of the system: __builtin_cpu_supports says no to everything when zig compiles
    unsigned a = 0, b = 0, c = 0, d = 0, saved = 0, high;
    __get_cpuid(1, &a, &b, &c, &d);
    const bool fused = c >> 12 & 1;
    if (c >> 27 & 1)
        asm volatile("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
    b = c = 0;
    __get_cpuid_count(7, 0, &a, &b, &c, &d);
    const bool avx2 = (saved & 6) == 6 && b >> 5 & 1, fma = avx2 && fused;
    const bool f = (saved & 0xe6) == 0xe6 && b >> 16 & 1, bw = f && b >> 30 & 1;
    const bool vnni = bw && b >> 31 & 1 && c >> 11 & 1;
#define BOTH(kind, isa, name, lanes, can)                                                                              \
    kernels.push_back({kind, isa, "registers", name, 12.0 * (lanes), can});                                            \
    kernels.push_back({kind, isa, "broadcast loads", name##_loads, 8.0 * (lanes), can});
    BOTH("int16", "avx512vnni", int16_vnni512, 32, vnni)
    BOTH("int16", "avx512vnni, 256 bits", int16_vnni256, 16, vnni)
    BOTH("int16", "avx512bw", int16_bw, 32, bw)
    BOTH("int16", "avx2", int16_avx2, 16, avx2)
    BOTH("int16", "portable", int16_sse2, 8, true)
    BOTH("int8", "avx512vnni", int8_vnni512, 64, vnni)
    BOTH("int8", "avx512vnni, 256 bits", int8_vnni256, 32, vnni)
    BOTH("int8", "avx512bw", int8_bw, 64, bw)
    BOTH("int8", "avx2", int8_avx2, 32, avx2)
    BOTH("fp32", "avx512f", fp32_avx512, 16, f)
    BOTH("fp32", "avx2", fp32_avx2, 8, fma)
#elif defined(__aarch64__)
#define BOTH(kind, isa, name, lanes)                                                                                   \
    kernels.push_back({kind, isa, "registers", name, 12.0 * (lanes), true});                                           \
    kernels.push_back({kind, isa, "broadcast loads", name##_loads, 8.0 * (lanes), true});
    BOTH("int16", "neon", int16_neon, 4)
#if defined(__ARM_FEATURE_DOTPROD)
    BOTH("int8", "neon", int8_neon, 16)
#endif
    BOTH("fp32", "neon", fp32_neon, 4)
#endif
    kernels.push_back({"int16", "portable", "plain loops", portable, 2048, true});
    kernels.push_back({"read", "memory", "512 MiB", reads<dram>, dram, true});
    kernels.push_back({"read", "cache", "512 KiB", reads<near>, near, true});

    std::vector<std::vector<double>> rates(kernels.size());
    for (int round = 0; round < rounds; round++)
        for (std::size_t k = 0; k < kernels.size(); k++)
            if (kernels[k].can)
                rates[k].push_back(rate(kernels[k], 0.02));
    const char *before = "[";
    for (std::size_t k = 0; k < kernels.size(); k++) {
        if (rates[k].empty())
            continue;
        std::sort(rates[k].begin(), rates[k].end());
        std::printf("%s{\"kind\": \"%s\", \"isa\": \"%s\", \"pattern\": \"%s\", \"giga_per_s\": %.4g}", before,
                    kernels[k].kind, kernels[k].isa, kernels[k].pattern, rates[k][rates[k].size() / 2]);
        before = ",\n ";
    }
    std::printf("]\n");
    return 0;
}
