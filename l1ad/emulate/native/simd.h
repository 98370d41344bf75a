// Vectors of the instruction set that the compiler was told to use; the same arithmetic on each.
#pragma once
#include <cstdint>
#include <cstring>
#include <type_traits>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#if defined(__AVX512BW__)
constexpr int BYTES = 64;
#elif defined(__AVX2__)
constexpr int BYTES = 32;
#else
constexpr int BYTES = 16;
#endif

#define INLINE static inline __attribute__((always_inline))

// T in lanes: V<T> fills a register; of 64-bit lanes there are half as many, and their dwords fill half of one
template <class T, int N = BYTES> struct vector_of { typedef T type __attribute__((vector_size(N), may_alias)); };
template <class T> using V = typename vector_of<T>::type;
template <class T> constexpr int LANES = BYTES / int(sizeof(T));
template <class T> using Dwords = typename vector_of<std::int32_t, 4 * LANES<T>>::type;
using V16 = V<std::int16_t>;
using V32 = V<std::int32_t>;
using V64 = V<std::int64_t>;

template <class T> INLINE V<T> all(std::int64_t x) { return V<T>{} + T(x); }
template <class W> INLINE W load(const void *from) {
    W out;
    std::memcpy(&out, from, sizeof out);
    return out;
}
template <class W> INLINE void store(void *to, const W &x) { std::memcpy(to, &x, sizeof x); }
template <class W> INLINE W smaller(const W &x, const W &y) { return x < y ? x : y; }
template <class W> INLINE W larger(const W &x, const W &y) { return x > y ? x : y; }
template <class T> INLINE V<T> shifted_up(const V<T> &x, int bits) { // of negative numbers too
    typedef V<typename std::make_unsigned<T>::type> U;
    return (V<T>)((U)x << bits);
}

// modulo 2**bits, where C++ leaves signed numbers undefined: lanes that only fill up hold anything, and sums may leave
// their lanes on the way to a result that does not
#define WRAPPING(name, sign)                                                                                           \
    INLINE V16 name(V16 x, V16 y) { return (V16)((V<std::uint16_t>)x sign(V<std::uint16_t>) y); }                      \
    INLINE V32 name(V32 x, V32 y) { return (V32)((V<std::uint32_t>)x sign(V<std::uint32_t>) y); }                      \
    INLINE V64 name(V64 x, V64 y) { return (V64)((V<std::uint64_t>)x sign(V<std::uint64_t>) y); }
WRAPPING(plus, +)
WRAPPING(minus, -)
WRAPPING(times, *)
#undef WRAPPING

// acc + x0 * w0 + x1 * w1 of the two halves of each dword, signed
INLINE V32 dot16(V32 acc, V32 x, V32 w) {
#if defined(__AVX512VNNI__)
    return (V32)_mm512_dpwssd_epi32((__m512i)acc, (__m512i)x, (__m512i)w);
#elif defined(__AVX512BW__)
    return plus(acc, (V32)_mm512_madd_epi16((__m512i)x, (__m512i)w));
#elif defined(__AVX2__)
    return plus(acc, (V32)_mm256_madd_epi16((__m256i)x, (__m256i)w));
#elif defined(__SSE2__)
    return plus(acc, (V32)_mm_madd_epi16((__m128i)x, (__m128i)w));
#elif defined(__aarch64__)
    acc = (V32)vmlal_s16((int32x4_t)acc, vmovn_s32((int32x4_t)x), vmovn_s32((int32x4_t)w));
    return (V32)vmlal_s16((int32x4_t)acc, vshrn_n_s32((int32x4_t)x, 16), vshrn_n_s32((int32x4_t)w, 16));
#else
    const V32 x0 = shifted_up<std::int32_t>(x, 16) >> 16, w0 = shifted_up<std::int32_t>(w, 16) >> 16;
    return plus(acc, plus(times(x0, w0), times(x >> 16, w >> 16)));
#endif
}

// dot16 with one dword for all events; the halves of each dword of x on top of acc
INLINE V32 dot16(V32 acc, V32 x, std::int32_t w) {
#if defined(__aarch64__)
    const int16x4_t by = (int16x4_t)vdup_n_s32(w);
    acc = (V32)vmlal_lane_s16((int32x4_t)acc, vmovn_s32((int32x4_t)x), by, 0);
    return (V32)vmlal_lane_s16((int32x4_t)acc, vshrn_n_s32((int32x4_t)x, 16), by, 1);
#else
    return dot16(acc, x, all<std::int32_t>(w));
#endif
}
INLINE V32 plus_halves(V32 acc, V16 x) {
#if defined(__aarch64__)
    return (V32)vpadalq_s16((int32x4_t)acc, (int16x8_t)x);
#else
    return dot16(acc, (V32)x, (V32)all<std::int16_t>(1));
#endif
}

// acc + the four products of the bytes of each dword, x unsigned, w signed.  Without VNNI only where
// 255 * (|w0| + |w1|) and 255 * (|w2| + |w3|) fit an int16, as the plan has proved.
INLINE V32 dot8(V32 acc, V32 x, V32 w) {
#if defined(__AVX512VNNI__)
    return (V32)_mm512_dpbusd_epi32((__m512i)acc, (__m512i)x, (__m512i)w);
#elif defined(__AVX512BW__)
    const __m512i pairs = _mm512_maddubs_epi16((__m512i)x, (__m512i)w);
    return plus(acc, (V32)_mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
#elif defined(__AVX2__)
    const __m256i pairs = _mm256_maddubs_epi16((__m256i)x, (__m256i)w);
    return plus(acc, (V32)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
#elif defined(__ARM_FEATURE_MATMUL_INT8)
    return (V32)vusdotq_s32((int32x4_t)acc, (uint8x16_t)x, (int8x16_t)w);
#elif defined(__aarch64__)
    const V16 w0 = shifted_up<std::int16_t>((V16)w, 8) >> 8, x1 = (V16)((V<std::uint16_t>)x >> 8);
    const V16 pairs = plus(times((V16)x & 255, w0), times(x1, (V16)w >> 8));
    return (V32)vpadalq_s16((int32x4_t)acc, (int16x8_t)pairs);
#else
    typedef V<std::uint32_t> U32;
    for (int byte = 0; byte < 32; byte += 8)
        acc = plus(acc, times((V32)((U32)x >> byte & 255), shifted_up<std::int32_t>(w, 24 - byte) >> 24));
    return acc;
#endif
}

// dwords of two 16-bit numbers each, of v[0] and v[1]; what does not fit saturates, or is never there
INLINE V32 packed16(V32 a, V32 b) {
#if defined(__AVX512BW__)
    const __m512i order = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15));
    return (V32)_mm512_shuffle_epi8(_mm512_packs_epi32((__m512i)a, (__m512i)b), order);
#elif defined(__AVX2__)
    const __m256i order =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15));
    return (V32)_mm256_shuffle_epi8(_mm256_packs_epi32((__m256i)a, (__m256i)b), order);
#elif defined(__aarch64__)
    return (V32)vsriq_n_s32(vqshlq_n_s32((int32x4_t)b, 16), vqshlq_n_s32((int32x4_t)a, 16), 16);
#else
    a = smaller(larger(a, all<std::int32_t>(-32768)), all<std::int32_t>(32767));
    b = smaller(larger(b, all<std::int32_t>(-32768)), all<std::int32_t>(32767));
    return (a & 0xffff) | shifted_up<std::int32_t>(b, 16);
#endif
}

// dwords of four unsigned bytes each, of v[0] to v[3]; what does not fit saturates
INLINE V32 packed8(V32 a, V32 b, V32 c, V32 d) {
#if defined(__AVX512BW__)
    const __m512i order = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    const __m512i ab = _mm512_packs_epi32((__m512i)a, (__m512i)b), cd = _mm512_packs_epi32((__m512i)c, (__m512i)d);
    return (V32)_mm512_shuffle_epi8(_mm512_packus_epi16(ab, cd), order);
#elif defined(__AVX2__)
    const __m256i order =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    const __m256i ab = _mm256_packs_epi32((__m256i)a, (__m256i)b), cd = _mm256_packs_epi32((__m256i)c, (__m256i)d);
    return (V32)_mm256_shuffle_epi8(_mm256_packus_epi16(ab, cd), order);
#elif defined(__aarch64__)
    uint32x4_t out = vqshluq_n_s32((int32x4_t)d, 24);
    out = vsriq_n_u32(out, vqshluq_n_s32((int32x4_t)c, 24), 8);
    out = vsriq_n_u32(out, vqshluq_n_s32((int32x4_t)b, 24), 16);
    return (V32)vsriq_n_u32(out, vqshluq_n_s32((int32x4_t)a, 24), 24);
#else
    V32 out{}, v[4] = {a, b, c, d};
    for (int i = 0; i < 4; i++)
        out |= shifted_up<std::int32_t>(smaller(larger(v[i], V32{}), all<std::int32_t>(255)), 8 * i);
    return out;
#endif
}

// dwords of two 16-bit numbers between `low` and `high`; of four unsigned bytes likewise
INLINE V32 clamped16(V32 x, int low, int high) {
    return (V32)smaller(larger((V16)x, all<std::int16_t>(low)), all<std::int16_t>(high));
}
INLINE V32 clamped8(V32 x, int low, int high) {
    typedef V<std::uint8_t> U8;
    return (V32)smaller(larger((U8)x, U8{} + std::uint8_t(low)), U8{} + std::uint8_t(high));
}

// each 16-bit number by bits of its own, 0 to 15
INLINE V16 shifted_right(V16 x, V16 bits) {
#if defined(__AVX512BW__)
    return (V16)_mm512_srav_epi16((__m512i)x, (__m512i)bits);
#elif defined(__AVX2__)
    const __m256i low = _mm256_srav_epi32(_mm256_slli_epi32((__m256i)x, 16), (__m256i)((V32)bits & 0xffff));
    const __m256i high = _mm256_srav_epi32((__m256i)x, _mm256_srli_epi32((__m256i)bits, 16));
    return (V16)_mm256_blend_epi16(_mm256_srli_epi32(low, 16), high, 0xaa);
#else
    return x >> bits;
#endif
}
INLINE V16 shifted_left(V16 x, V16 bits) {
#if defined(__AVX512BW__)
    return (V16)_mm512_sllv_epi16((__m512i)x, (__m512i)bits);
#elif defined(__AVX2__)
    const __m256i low = _mm256_sllv_epi32((__m256i)x, (__m256i)((V32)bits & 0xffff));
    const __m256i high = _mm256_sllv_epi32((__m256i)((V32)x & ~0xffff), _mm256_srli_epi32((__m256i)bits, 16));
    return (V16)_mm256_blend_epi16(low, high, 0xaa);
#else
    typedef V<std::uint16_t> U16;
    return (V16)((U16)x << (U16)bits);
#endif
}

// not 0 where x, a 16-bit number, is not between low and low + span
INLINE V16 beyond(V16 x, V16 low, V16 span) {
#if defined(__AVX512BW__)
    return (V16)_mm512_subs_epu16((__m512i)minus(x, low), (__m512i)span);
#elif defined(__AVX2__)
    return (V16)_mm256_subs_epu16((__m256i)minus(x, low), (__m256i)span);
#else
    typedef V<std::uint16_t> U16;
    return (V16)((U16)minus(x, low) > (U16)span);
#endif
}

// 16-bit numbers of a row, of which `left` > 0 are there; `inside`: what lies behind them may be read too
INLINE V16 some(const char *from, int left, bool inside) {
#if defined(__AVX512BW__)
    return (V16)_mm512_maskz_loadu_epi16(left >= 32 ? ~0u : (1u << left) - 1, from);
#else
    if (inside || left >= LANES<std::int16_t>)
        return load<V16>(from);
    V16 x{};
    std::memcpy(&x, from, 2 * left);
    return x;
#endif
}

// unsigned bytes of the numbers of x, then of y, in order; what does not fit saturates
INLINE V32 bytes_of(V16 x, V16 y) {
#if defined(__AVX512BW__)
    const __m512i order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
    return (V32)_mm512_permutexvar_epi64(order, _mm512_packus_epi16((__m512i)x, (__m512i)y));
#elif defined(__AVX2__)
    return (V32)_mm256_permute4x64_epi64(_mm256_packus_epi16((__m256i)x, (__m256i)y), 0xd8);
#elif defined(__aarch64__)
    return (V32)vqmovun_high_s16(vqmovun_s16((int16x8_t)x), (int16x8_t)y);
#else
    typedef V<std::uint8_t> Bytes;
    Bytes out;
    for (int i = 0; i < LANES<std::int16_t>; i++) {
        out[i] = x[i] < 0 ? 0 : x[i] > 255 ? 255 : x[i];
        out[i + LANES<std::int16_t>] = y[i] < 0 ? 0 : y[i] > 255 ? 255 : y[i];
    }
    return (V32)out;
#endif
}

// dwords of four unsigned bytes, of dwords of two 16-bit numbers each; what does not fit saturates
INLINE V32 bytes_of_pairs(V16 x, V16 y) {
#if defined(__AVX512BW__)
    const __m512i order = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15));
    return (V32)_mm512_shuffle_epi8(_mm512_packus_epi16((__m512i)x, (__m512i)y), order);
#elif defined(__AVX2__)
    const __m256i order =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15));
    return (V32)_mm256_shuffle_epi8(_mm256_packus_epi16((__m256i)x, (__m256i)y), order);
#elif defined(__aarch64__)
    const uint8x8_t none = vdup_n_u8(0);
    const uint8x16_t a = vcombine_u8(vqmovun_s16((int16x8_t)x), none), b = vcombine_u8(vqmovun_s16((int16x8_t)y), none);
    return (V32)vzip1q_u16((uint16x8_t)a, (uint16x8_t)b);
#else
    x = smaller(larger(x, V16{}), all<std::int16_t>(255));
    y = smaller(larger(y, V16{}), all<std::int16_t>(255));
    const V32 a = (V32)x, b = (V32)y;
    return (a & 255) | (a >> 16 << 8) | (b & 255) << 16 | (V32)((V<std::uint32_t>)(b >> 16) << 24);
#endif
}

// dwords of two 16-bit numbers each, of the lower or the upper two of four unsigned bytes
INLINE V16 pairs_of_bytes(V32 x, bool upper) {
#if defined(__AVX512BW__)
    const char z = -1;
    const __m512i low = _mm512_broadcast_i32x4(_mm_setr_epi8(0, z, 1, z, 4, z, 5, z, 8, z, 9, z, 12, z, 13, z));
    const __m512i high = _mm512_broadcast_i32x4(_mm_setr_epi8(2, z, 3, z, 6, z, 7, z, 10, z, 11, z, 14, z, 15, z));
    return (V16)_mm512_shuffle_epi8((__m512i)x, upper ? high : low);
#elif defined(__aarch64__)
    return (V16)vmovl_u8((uint8x8_t)(upper ? vshrn_n_u32((uint32x4_t)x, 16) : vmovn_u32((uint32x4_t)x)));
#else
    const V32 both = upper ? (V32)((V<std::uint32_t>)x >> 16) : x & 0xffff;
    return (V16)((both & 255) | (both >> 8 << 16));
#endif
}

// dwords of one number of `a` and one of `b` each, of 2 LANES<int32> events
INLINE void pairs_of(const std::int16_t *a, const std::int16_t *b, V16 &first, V16 &second) {
#if defined(__AVX512BW__)
    const __m512i x = _mm512_loadu_si512(a), y = _mm512_loadu_si512(b);
    const __m512i step = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6, 37,
                                          5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
    first = (V16)_mm512_permutex2var_epi16(x, step, y);
    second = (V16)_mm512_permutex2var_epi16(x, _mm512_add_epi16(step, _mm512_set1_epi16(16)), y);
#elif defined(__aarch64__)
    first = (V16)vzip1q_s16(vld1q_s16(a), vld1q_s16(b));
    second = (V16)vzip2q_s16(vld1q_s16(a), vld1q_s16(b));
#else
    typedef typename vector_of<std::uint16_t, BYTES / 2>::type Half;
    typedef V<std::uint32_t> U32;
    constexpr int N = LANES<std::int32_t>;
    first = (V16)(__builtin_convertvector(load<Half>(a), U32) | __builtin_convertvector(load<Half>(b), U32) << 16);
    second = (V16)(__builtin_convertvector(load<Half>(a + N), U32) | __builtin_convertvector(load<Half>(b + N), U32) << 16);
#endif
}

// LANES rows of as many dwords to columns
INLINE void transpose(V32 (&r)[LANES<std::int32_t>]) {
#if defined(__AVX512BW__)
    __m512i t[16], *q = (__m512i *)r;
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(q[i], q[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(q[i], q[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        q[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        q[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        q[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        q[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (int k = 0; k < 4; k++) {
        t[k] = _mm512_shuffle_i32x4(q[k], q[k + 4], 0x88);
        t[k + 4] = _mm512_shuffle_i32x4(q[k], q[k + 4], 0xdd);
        t[k + 8] = _mm512_shuffle_i32x4(q[k + 8], q[k + 12], 0x88);
        t[k + 12] = _mm512_shuffle_i32x4(q[k + 8], q[k + 12], 0xdd);
    }
    for (int k = 0; k < 4; k++) {
        q[k] = _mm512_shuffle_i32x4(t[k], t[k + 8], 0x88);
        q[k + 8] = _mm512_shuffle_i32x4(t[k], t[k + 8], 0xdd);
        q[k + 4] = _mm512_shuffle_i32x4(t[k + 4], t[k + 12], 0x88);
        q[k + 12] = _mm512_shuffle_i32x4(t[k + 4], t[k + 12], 0xdd);
    }
#elif defined(__AVX2__)
    __m256i t[8], *q = (__m256i *)r;
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_epi32(q[i], q[i + 1]);
        t[i + 1] = _mm256_unpackhi_epi32(q[i], q[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        q[i] = _mm256_unpacklo_epi64(t[i], t[i + 2]);
        q[i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 2]);
        q[i + 2] = _mm256_unpacklo_epi64(t[i + 1], t[i + 3]);
        q[i + 3] = _mm256_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (int k = 0; k < 4; k++) {
        t[k] = _mm256_permute2x128_si256(q[k], q[k + 4], 0x20);
        t[k + 4] = _mm256_permute2x128_si256(q[k], q[k + 4], 0x31);
    }
    for (int k = 0; k < 8; k++)
        q[k] = t[k];
#elif defined(__aarch64__)
    int32x4_t *q = (int32x4_t *)r;
    const int32x4_t t[4] = {vzip1q_s32(q[0], q[2]), vzip2q_s32(q[0], q[2]), //
                            vzip1q_s32(q[1], q[3]), vzip2q_s32(q[1], q[3])};
    for (int i = 0; i < 2; i++) {
        q[2 * i] = vzip1q_s32(t[i], t[i + 2]);
        q[2 * i + 1] = vzip2q_s32(t[i], t[i + 2]);
    }
#else
    V32 t[4] = {r[0], r[1], r[2], r[3]};
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 4; k++)
            r[k][i] = t[i][k];
#endif
}
