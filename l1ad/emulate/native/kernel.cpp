// Executes the plan of a network (plan.py) on blocks of 64 events, each number of an event in a lane of its own.
//
// A value of the network lies in a part of the arena as dwords: dword d of all events of a block side by side.  A
// dword holds four bytes, two 16-bit numbers or one of 32 bits; of 64 bits, two dwords hold one.  The plan has proved
// that nothing overflows in the lanes that it chose, so that this arithmetic is that of the integers.
#include <cmath>

#include "simd.h"

extern "C" {

enum Format : std::int32_t { U8, I16, I32, I64 };
enum Code : std::int32_t { END, ADD, MUL, SHL, SAR, AND, EXTEND, SIGN, EVEN, ZERO, LOOK, CLAMP };
enum Kind : std::int32_t { SUM8, SUM16, TERMS16, SUM, MAP, MERGE, MASK, DOT16, DOT, RESIDUAL, GATHER };
enum How : std::int32_t { PLUS, MINUS, TIMES, MAXIMUM, MINIMUM };

// One step of a program on the lanes; `each`, if any, holds a constant per element, instead of `a`
struct Op {
    std::int32_t code, unused;
    std::int64_t a, b;
    const std::int64_t *each;
};

// Where a value lies: element e at position place[e], counted in elements, after dword `start` of the arena; stored is
// the raw number - zero
struct Value {
    std::int32_t format, size, start, unused;
    std::int64_t zero;
    const std::int32_t *place;
};

struct Step {
    std::int32_t kind, lanes, windows, filters, terms, how, up_x, up_y, clamp;
    std::int64_t low, high; // of what is stored, if `clamp`
    Value x, y, z, out;
    const std::int32_t *index;
    const void *weights;
    const std::int64_t *bias;
    const Op *product, *program;
};

// entrance: twelve constants of each column, `padded` columns apart: lowest and span of the admissible numbers, and what
// scales them, see entrance.py
struct Plan {
    std::int32_t columns, steps, padded, is_scaled, keeps_raw, cuts, turns, goes_down, goes_up, saturates, tiles, entered; // entered: dwords that the entrance fills, from the first
    const std::int64_t *low, *high; // admissible, by column
    const std::int16_t *entrance;
    Value input, scaled, score;
    const Step *step;
};

// What scores are counted in: bins of 2**shift codes for each category; weights, if any, are integers
struct Histogram {
    std::int64_t low, shift, bins;
    std::int64_t *counts, *sums;
    unsigned __int128 *squares;
    std::uint64_t *cubes; // three of each bin
    const std::int64_t *category, *weight;
};

// Events: column c of event e at column[c] + e * stride[c]; `rows`: if not null, integers of one type, row by row
struct Source {
    const char *rows;
    std::int64_t row_bytes;
    const char *const *column;
    const std::int64_t *stride;
    const std::int32_t *type; // bytes per number, negative if signed; 100 more for floats
    const double *units;      // of floats: value of a count, and of each column behind those, counts that go once around
                              // (0: none), and counts that stand for all above (infinity: none)
};
}

namespace {

#define UNROLL _Pragma("GCC unroll 4")
constexpr int EVENTS = 64, GROUP = 8; // of a block; blocks of columns that enter together
constexpr int DWORD = 4 * EVENTS; // bytes of one dword of a block

typedef std::int32_t i32;
typedef std::int64_t i64;
typedef unsigned __int128 u128;

INLINE char *dword(char *arena, const Value &v, i64 number) { return arena + (v.start + number) * DWORD; }

// LANES<T> events, from event `first`, of the element at `position`
template <class T> INLINE V<T> element(char *arena, const Value &v, int position, int first) {
    typedef Dwords<T> D;
    const int at = 4 * first;
    switch (v.format) {
    case U8: {
        D x = load<D>(dword(arena, v, position >> 2) + at);
        return plus(__builtin_convertvector((x >> (8 * (position & 3))) & 255, V<T>), all<T>(v.zero));
    }
    case I16: {
        D x = load<D>(dword(arena, v, position >> 1) + at);
        typedef typename vector_of<std::uint32_t, int(sizeof(D))>::type U;
        if (!(position & 1))
            x = (D)((U)x << 16);
        return __builtin_convertvector(x >> 16, V<T>); // whose zero is 0
    }
    case I32:
        return __builtin_convertvector(load<D>(dword(arena, v, position) + at), V<T>);
    default:
        if constexpr (sizeof(T) == 8)
            return load<V<T>>(dword(arena, v, 2 * position) + 2 * at);
        else { // the plan has proved that they fit
            V<T> out;
            const char *from = dword(arena, v, 2 * position) + 2 * at;
            for (int lane = 0; lane < LANES<T>; lane++)
                out[lane] = T(load<i64>(from + 8 * lane));
            return out;
        }
    }
}

// Entries of a table; of what is only there to fill up and lies anywhere, 0
template <class T> __attribute__((noinline)) V<T> looked_up(const Op &op, V<T> x) {
    T lanes[LANES<T>];
    store(lanes, x);
    for (T &lane : lanes) {
        const std::uint64_t entry = std::uint64_t(lane) - std::uint64_t(op.a);
        lane = entry < std::uint64_t(op.b) ? T(op.each[entry]) : 0;
    }
    return load<V<T>>(lanes);
}

// Of 16-bit numbers, two elements share a dword
template <class T> INLINE V<T> constant(const Op &op, int element, int j) {
    if (!op.each)
        return all<T>(op.a);
    if constexpr (sizeof(T) == 2) {
        const i64 *pair = op.each + element + 2 * j;
        return (V16)all<i32>((pair[0] & 0xffff) + pair[1] * 65536);
    } else
        return all<T>(op.each[element + j]);
}

// x[j][q]: element first + j, or of 16-bit numbers first + 2 j and the next; events in lanes
template <class T, int J, int Q> INLINE void run_program(const Op *op, V<T> (&x)[J][Q], int first) {
#define EACH(expression)                                                                                               \
    UNROLL for (int j = 0; j < J; j++) {                                                                               \
        const V<T> c = constant<T>(*op, first, j);                                                                     \
        (void)c;                                                                                                       \
        UNROLL for (int q = 0; q < Q; q++) {                                                                           \
            V<T> &v = x[j][q];                                                                                         \
            v = expression;                                                                                            \
        }                                                                                                              \
    }                                                                                                                  \
    break
    constexpr int BITS = 8 * int(sizeof(T));
    for (; op->code != END; op++) {
        const int n = int(op->a);
        switch (op->code) {
        case ADD:
            EACH(plus(v, c));
        case MUL:
            EACH(times(v, c));
        case SHL:
            EACH(shifted_up<T>(v, n));
        case SAR:
            EACH(v >> n);
        case AND:
            EACH(v & c);
        case EXTEND: // sign of the n lowest bits
            EACH(shifted_up<T>(v, BITS - n) >> (BITS - n));
        case SIGN: // negative numbers only
            EACH(plus(v, (v >> (BITS - 1)) & c));
        case EVEN: // where a half was added: ties to even, since only they have nothing to lose a 1 from
            EACH(minus(v, (v >> n) & 1));
        case ZERO: {
            const V<T> low = all<T>(op->a), high = all<T>(op->b);
            EACH((v < low) | (v > high) ? V<T>{} : v);
        }
        case CLAMP: {
            const V<T> low = all<T>(op->a), high = all<T>(op->b);
            EACH(smaller(larger(v, low), high));
        }
        case LOOK:
            UNROLL for (int j = 0; j < J; j++)
                UNROLL for (int q = 0; q < Q; q++)
                    x[j][q] = looked_up<T>(*op, x[j][q]);
            break;
        }
    }
#undef EACH
}

// Store `count` <= J elements and zeros behind them, four in all, at a position that is a multiple of 4
template <class T, int J, int Q>
INLINE void keep(char *arena, const Step &s, V<T> (&x)[J][Q], int count, int position, int first_event) {
    typedef Dwords<T> D;
    const Value &out = s.out;
    const bool packs = sizeof(T) == 4 && out.format <= I16; // what packs, saturates, and is clamped when it is packed
    if (s.clamp && !packs)
        UNROLL for (int j = 0; j < J; j++)
            UNROLL for (int q = 0; q < Q; q++)
                x[j][q] = smaller(larger(x[j][q], all<T>(s.low)), all<T>(s.high));
    UNROLL for (int q = 0; q < Q; q++) {
        const int at = 4 * (first_event + q * LANES<T>);
        V<T> v[4] = {};
        UNROLL for (int j = 0; j < J; j++)
            v[j] = J == 1 || j < count ? x[j][q] : V<T>{};
        switch (out.format) {
        case U8:
            if constexpr (sizeof(T) == 4) {
                V32 bytes = packed8(v[0], v[1], v[2], v[3]);
                if (s.clamp && (s.low > 0 || s.high < 255))
                    bytes = clamped8(bytes, int(s.low), int(s.high));
                store(dword(arena, out, position >> 2) + at, bytes);
            } else {
                D bytes{};
                UNROLL for (int j = 0; j < 4; j++)
                    bytes |= __builtin_convertvector((v[j] & 255) << (8 * j), D);
                store(dword(arena, out, position >> 2) + at, bytes);
            }
            break;
        case I16:
            UNROLL for (int j = 0; j < 4; j += 2) {
                if constexpr (sizeof(T) == 4) {
                    V32 pair = packed16(v[j], v[j + 1]);
                    if (s.clamp)
                        pair = clamped16(pair, int(s.low), int(s.high));
                    store(dword(arena, out, (position + j) >> 1) + at, pair);
                } else {
                    D pair = __builtin_convertvector((v[j] & 0xffff) | shifted_up<T>(v[j + 1], 16), D);
                    store(dword(arena, out, (position + j) >> 1) + at, pair);
                }
            }
            break;
        case I32:
            UNROLL for (int j = 0; j < J; j++)
                store(dword(arena, out, position + j) + at, __builtin_convertvector(v[j], D));
            break;
        default:
            UNROLL for (int j = 0; j < J; j++) {
                char *to = dword(arena, out, 2 * (position + j)) + 2 * at;
                for (int lane = 0; lane < LANES<T>; lane++)
                    store(to + 8 * lane, i64(v[j][lane]));
            }
        }
    }
}

// Store four elements, in pairs of 16-bit numbers; see `keep`
template <int Q> INLINE void keep_pairs(char *arena, const Step &s, V16 (&x)[2][Q], int count, int position, int first) {
    const i32 low[2] = {count < 2 ? 0xffff : -1, count < 3 ? 0 : count < 4 ? 0xffff : -1};
    UNROLL for (int q = 0; q < Q; q++) {
        const int at = 4 * first + q * BYTES;
        V16 pair[2];
        UNROLL for (int j = 0; j < 2; j++) {
            pair[j] = x[j][q];
            if (count < 4)
                pair[j] = (V16)((V32)pair[j] & low[j]);
        }
        if (s.out.format == U8) {
            V32 bytes = bytes_of_pairs(pair[0], pair[1]);
            if (s.clamp && (s.low > 0 || s.high < 255))
                bytes = clamped8(bytes, int(s.low), int(s.high));
            store(dword(arena, s.out, position >> 2) + at, bytes);
        } else {
            UNROLL for (int j = 0; j < 2; j++) {
                if (s.clamp)
                    pair[j] = (V16)clamped16((V32)pair[j], int(s.low), int(s.high));
                store(dword(arena, s.out, (position >> 1) + j) + at, pair[j]);
            }
        }
    }
}

// The end of four sums
template <int J, int Q>
INLINE void finish(char *arena, const Step &s, V32 (&acc)[J][Q], int count, int element, int first) {
    const int position = s.out.place[element];
    if (s.lanes == 16) { // pack, which saturates, before the rest
        V16 pairs[2][Q];
        UNROLL for (int q = 0; q < Q; q++) {
            pairs[0][q] = (V16)packed16(acc[0][q], J > 1 ? acc[J > 1][q] : V32{});
            pairs[1][q] = J > 2 ? (V16)packed16(acc[J > 2 ? 2 : 0][q], acc[J > 3 ? 3 : 0][q]) : V16{};
        }
        run_program<std::int16_t, 2, Q>(s.program, pairs, element);
        keep_pairs<Q>(arena, s, pairs, count, position, first);
    } else {
        run_program<i32, J, Q>(s.program, acc, element);
        keep<i32, J, Q>(arena, s, acc, count, position, first);
    }
}

// Four outputs at a time: windows of dwords times weights, the lanes of each dword at once
// Cache lines of the rows of the next block, fetched a few at a time while this one is computed: all at once they would wait for
// each other
struct Ahead {
    const Source *from;
    i64 event;
    int line, lines, at_once;

    void fetch() {
        for (int last = line + at_once < lines ? line + at_once : lines; line < last; line++)
            __builtin_prefetch(from->rows + event * from->row_bytes + 64 * line);
    }
};

enum Terms { BYTES_DOT, PAIRS_DOT, PAIRS_TERMS };

template <Terms KIND, int J, int Q> void dots(const Step &s, char *arena, int window, int filter, const i32 *weights) {
    const i64 terms = s.terms; // what lies in memory might change with any store, for all the compiler knows
    const i32 *index = s.index + window * terms;
    const V16 half = all<std::int16_t>(s.up_x);
    for (i64 first = 0; first < EVENTS; first += Q * LANES<i32>) {
        V32 acc[J][Q];
        UNROLL for (int j = 0; j < J; j++)
            UNROLL for (int q = 0; q < Q; q++)
                acc[j][q] = all<i32>(s.bias[filter + j]);
        const char *at = arena + 4 * first;
        for (i64 k = 0; k < terms; k++) {
            const char *from = at + i64(index[k]) * DWORD;
            V32 x[Q];
            UNROLL for (int q = 0; q < Q; q++)
                x[q] = load<V32>(from + q * BYTES);
            UNROLL for (int j = 0; j < J; j++) {
                const V32 w = all<i32>(weights[4 * k + j]);
                UNROLL for (int q = 0; q < Q; q++)
                    if constexpr (KIND == BYTES_DOT)
                        acc[j][q] = dot8(acc[j][q], x[q], w);
                    else if constexpr (KIND == PAIRS_DOT)
                        acc[j][q] = dot16(acc[j][q], x[q], weights[4 * k + j]);
                    else { // each product loses its low bits first
                        const V16 terms = plus(times((V16)x[q], (V16)w), half) >> s.up_y;
                        acc[j][q] = plus_halves(acc[j][q], terms);
                    }
            }
        }
        finish<J, Q>(arena, s, acc, s.filters - filter, window * s.filters + filter, first);
    }
}

#if defined(__AVX512BW__)
constexpr int Q_DOTS = 4;
#else
constexpr int Q_DOTS = 2;
#endif

template <Terms KIND> __attribute__((noinline)) void fast_sums(const Step &s, char *arena, Ahead &ahead) {
    for (int window = 0; window < s.windows; window++) {
        const i32 *weights = static_cast<const i32 *>(s.weights);
        for (int filter = 0; filter < s.filters; filter += 4, weights += 4 * s.terms) {
            ahead.fetch();
            if (s.filters - filter == 1)
                dots<KIND, 1, Q_DOTS>(s, arena, window, filter, weights);
            else
                dots<KIND, 4, Q_DOTS>(s, arena, window, filter, weights);
        }
    }
}

// Sums of any width, term by term; index: position of each term in x, -1 for the padding
template <class T> __attribute__((noinline)) void sums(const Step &s, char *arena) {
    for (int window = 0; window < s.windows; window++) {
        const i64 *weights = static_cast<const i64 *>(s.weights);
        const i32 *index = s.index + i64(window) * s.terms;
        for (int filter = 0; filter < s.filters; filter += 4, weights += 4 * s.terms) {
            const int out = window * s.filters + filter;
            constexpr int Q = 2;
            for (int first = 0; first < EVENTS; first += Q * LANES<T>) {
                V<T> acc[4][Q];
                UNROLL for (int j = 0; j < 4; j++)
                    UNROLL for (int q = 0; q < Q; q++)
                        acc[j][q] = all<T>(s.bias[filter + j]);
                for (int k = 0; k < s.terms; k++) {
                    if (index[k] < 0)
                        continue;
                    V<T> term[4][Q];
                    UNROLL for (int q = 0; q < Q; q++) {
                        const V<T> x = element<T>(arena, s.x, index[k], first + q * LANES<T>);
                        UNROLL for (int j = 0; j < 4; j++)
                            term[j][q] = times(x, all<T>(weights[4 * k + j]));
                    }
                    if (s.product)
                        run_program<T, 4, Q>(s.product, term, 0);
                    UNROLL for (int j = 0; j < 4; j++)
                        UNROLL for (int q = 0; q < Q; q++)
                            acc[j][q] = plus(acc[j][q], term[j][q]);
                }
                run_program<T, 4, Q>(s.program, acc, out);
                keep<T, 4, Q>(arena, s, acc, s.filters - filter, s.out.place[out], first);
            }
        }
    }
}

template <class T> INLINE V<T> merged(int how, V<T> x, V<T> y) {
    switch (how) {
    case PLUS:
        return plus(x, y);
    case MINUS:
        return minus(x, y);
    case TIMES:
        return times(x, y);
    case MAXIMUM:
        return larger(x, y);
    default:
        return smaller(x, y);
    }
}

// MAP, MERGE, MASK: four elements at a time
template <class T> __attribute__((noinline)) void elementwise(const Step &s, char *arena) {
    int count;
    for (int e = 0; e < s.out.size; e += count) {
        const int position = s.out.place[e];
        for (count = 1; count < 4 && e + count < s.out.size && s.out.place[e + count] == position + count;)
            count++;
        for (int first = 0; first < EVENTS; first += LANES<T>) {
            V<T> v[4][1] = {};
            for (int j = 0; j < count; j++) {
                const V<T> x = element<T>(arena, s.x, s.x.place[e + j], first);
                if (s.kind == MERGE) {
                    const V<T> y = element<T>(arena, s.y, s.y.place[e + j], first);
                    v[j][0] = merged<T>(s.how, shifted_up<T>(x, s.up_x), shifted_up<T>(y, s.up_y));
                } else if (s.kind == MASK) {
                    v[j][0] = element<T>(arena, s.y, s.index[e + j], first) != 0 ? x : V<T>{};
                } else {
                    v[j][0] = x;
                }
            }
            run_program<T, 4, 1>(s.program, v, e);
            keep<T, 4, 1>(arena, s, v, count, position, first);
        }
    }
}

// Pairs of elements, of a value that has them in order
INLINE V16 pair_of(char *arena, const Value &v, int pair, int at) {
    if (v.format == I16)
        return load<V16>(dword(arena, v, pair) + at);
    return plus(pairs_of_bytes(load<V32>(dword(arena, v, pair >> 1) + at), pair & 1), all<std::int16_t>(v.zero));
}

// A pair of elements that lie anywhere, of 16-bit numbers
INLINE V16 pair_apart(char *arena, const Value &v, const i32 *positions, int at) {
    const V32 one = load<V32>(dword(arena, v, positions[0] >> 1) + at);
    const V32 two = load<V32>(dword(arena, v, positions[1] >> 1) + at);
    return (V16)(((positions[0] & 1 ? one >> 16 : one) & 0xffff) |
                 ((positions[1] & 1 ? two : shifted_up<i32>(two, 16)) & ~0xffff));
}

// Of 16-bit numbers, which lie in order
__attribute__((noinline)) void elementwise16(const Step &s, char *arena) {
    constexpr int Q = Q_DOTS;
    for (int e = 0; e < s.out.size; e += 4)
        for (int first = 0; first < EVENTS; first += Q * LANES<i32>) {
            V16 v[2][Q];
            UNROLL for (int j = 0; j < 2; j++) {
                const i32 *index = s.index + e + 2 * j; // of a MASK
                UNROLL for (int q = 0; q < Q; q++) {
                    const int at = 4 * first + q * BYTES, pair = e / 2 + j;
                    const V16 x = pair_of(arena, s.x, pair, at);
                    if (s.kind == MERGE) {
                        const V16 y = pair_of(arena, s.y, pair, at);
                        v[j][q] = merged<std::int16_t>(s.how, shifted_up<std::int16_t>(x, s.up_x),
                                                       shifted_up<std::int16_t>(y, s.up_y));
                    } else if (s.kind == MASK) {
                        v[j][q] = pair_apart(arena, s.y, index, at) != 0 ? x : V16{};
                    } else
                        v[j][q] = x;
                }
            }
            run_program<std::int16_t, 2, Q>(s.program, v, e);
            keep_pairs<Q>(arena, s, v, s.out.size - e, s.out.place[e], first);
        }
}

// Dot of any width
template <class T> __attribute__((noinline)) void dot(const Step &s, char *arena) {
    constexpr int Q = 2;
    for (int first = 0; first < EVENTS; first += Q * LANES<T>) {
        V<T> acc[1][Q] = {};
        for (int e = 0; e < s.x.size; e++) {
            V<T> term[1][Q];
            UNROLL for (int q = 0; q < Q; q++) {
                const int event = first + q * LANES<T>;
                const V<T> x = element<T>(arena, s.x, s.x.place[e], event);
                term[0][q] = times(x, element<T>(arena, s.y, s.y.place[e], event));
            }
            if (s.product)
                run_program<T, 1, Q>(s.product, term, 0);
            UNROLL for (int q = 0; q < Q; q++)
                acc[0][q] = plus(acc[0][q], term[0][q]);
        }
        run_program<T, 1, Q>(s.program, acc, 0);
        keep<T, 1, Q>(arena, s, acc, 1, s.out.place[0], first);
    }
}

// Dot of pairs: dwords of x and y, in one order
__attribute__((noinline)) void dot16s(const Step &s, char *arena) {
    constexpr int Q = Q_DOTS;
    for (int first = 0; first < EVENTS; first += Q * LANES<i32>) {
        V32 acc[1][Q] = {};
        const char *x = dword(arena, s.x, 0) + 4 * first, *y = dword(arena, s.y, 0) + 4 * first;
        for (int k = 0; k < s.terms; k++)
            UNROLL for (int q = 0; q < Q; q++)
                acc[0][q] = dot16(acc[0][q], load<V32>(x + k * DWORD + q * BYTES), load<V32>(y + k * DWORD + q * BYTES));
        run_program<i32, 1, Q>(s.program, acc, 0);
        keep<i32, 1, Q>(arena, s, acc, 1, s.out.place[0], first);
    }
}

// The sum of squares of x + y or x - y, of 16-bit numbers, where those of z are not 0 (index null: everywhere)
__attribute__((noinline)) void residual(const Step &s, char *arena) {
    constexpr int Q = Q_DOTS;
    for (int first = 0; first < EVENTS; first += Q * LANES<i32>) {
        V32 acc[1][Q] = {};
        for (int pair = 0; pair < s.terms; pair++)
            UNROLL for (int q = 0; q < Q; q++) {
                const int at = 4 * first + q * BYTES;
                const V16 x = shifted_up<std::int16_t>(pair_of(arena, s.x, pair, at), s.up_x);
                const V16 y = shifted_up<std::int16_t>(pair_of(arena, s.y, pair, at), s.up_y);
                V16 v = s.how == PLUS ? plus(x, y) : minus(x, y);
                if (s.index)
                    v = pair_apart(arena, s.z, s.index + 2 * pair, at) != 0 ? v : V16{};
                if (2 * pair + 1 == s.x.size) // the last has no partner
                    v = (V16)((V32)v & 0xffff);
                acc[0][q] = dot16(acc[0][q], (V32)v, (V32)v);
            }
        run_program<i32, 1, Q>(s.program, acc, 0);
        keep<i32, 1, Q>(arena, s, acc, 1, s.out.place[0], first);
    }
}

// Dwords of elements that do not lie together: index holds, for each part of each dword, its position in x, or -1 for
// the number 0
__attribute__((noinline)) void gather(const Step &s, char *arena) {
    typedef V<std::uint32_t> U32;
    const int parts = s.x.format == U8 ? 4 : 2, bits = 32 / parts, shift = s.x.format == U8 ? 2 : 1;
    const std::uint32_t mask = (1u << bits) - 1;
    const i32 *index = s.index;
    for (int d = 0; d < s.out.size; d++, index += parts)
        for (int first = 0; first < EVENTS; first += LANES<i32>) {
            U32 out{};
            for (int part = 0; part < parts; part++) {
                U32 x = U32{} + std::uint32_t(-s.x.zero);
                if (index[part] >= 0)
                    x = load<U32>(dword(arena, s.x, index[part] >> shift) + 4 * first) >>
                        (bits * (index[part] & (parts - 1)));
                out |= (x & mask) << (bits * part);
            }
            store(dword(arena, s.out, d) + 4 * first, out);
        }
}

void take(const Step &s, char *arena, Ahead &ahead) {
    switch (s.kind) {
    case SUM8:
        return fast_sums<BYTES_DOT>(s, arena, ahead);
    case SUM16:
        return fast_sums<PAIRS_DOT>(s, arena, ahead);
    case TERMS16:
        return fast_sums<PAIRS_TERMS>(s, arena, ahead);
    case SUM:
        return s.lanes == 64 ? sums<i64>(s, arena) : sums<i32>(s, arena);
    case DOT16:
        return dot16s(s, arena);
    case DOT:
        return s.lanes == 64 ? dot<i64>(s, arena) : dot<i32>(s, arena);
    case RESIDUAL:
        return residual(s, arena);
    case GATHER:
        return gather(s, arena);
    default:
        return s.lanes == 16   ? elementwise16(s, arena)
               : s.lanes == 32 ? elementwise<i32>(s, arena)
                               : elementwise<i64>(s, arena);
    }
}

// Numbers of one column, of any type and distance, as 16 bits or more; whether all are admissible
template <class From, class To>
bool taken(const char *from, i64 stride, int count, i64 low, i64 high, To *to) {
    bool good = true;
    if (stride == sizeof(From))
        for (int e = 0; e < count; e++) {
            const From x = load<From>(from + e * sizeof(From));
            good &= i64(x) >= low && i64(x) <= high;
            to[e] = To(x);
        }
    else
        for (int e = 0; e < count; e++) {
            const From x = load<From>(from + e * stride);
            good &= i64(x) >= low && i64(x) <= high;
            to[e] = To(x);
        }
    return good;
}

template <class From> INLINE void widen(const char *from, int count, std::int16_t *to) {
    for (int e = 0; e < count; e++)
        to[e] = load<From>(from + e);
}

INLINE bool negative(const std::int16_t *x, int count) {
    std::int16_t any = 0;
    for (int e = 0; e < count; e++)
        any |= load<std::int16_t>(x + e);
    return any < 0;
}

INLINE bool none(V16 bad) {
    std::uint64_t any = 0;
    for (int lane = 0; lane < LANES<i64>; lane++)
        any |= std::uint64_t(((V64)bad)[lane]);
    return !any;
}

typedef V<double> Doubles;

// The nearest integer, ties to even, of what is smaller than 2^51
INLINE Doubles nearest(Doubles x) {
    const double shift = 6755399441055744.; // 1.5 * 2^52
    return x + shift - shift;
}

// Values to the nearest codes, as l1ad.events.units.to_codes has them
template <class From, class To>
bool quantised(const char *from, i64 stride, int count, i64 low, i64 high, const double *unit, int columns, To *to) {
    const double lsb = unit[0], turn = unit[columns];
    const Doubles zero{}, large = zero + 1e15, most = zero + unit[2 * columns];
    alignas(64) double value[GROUP * EVENTS];
    if (stride == sizeof(From))
        for (int e = 0; e < count; e++)
            value[e] = load<From>(from + e * sizeof(From));
    else
        for (int e = 0; e < count; e++)
            value[e] = load<From>(from + e * stride);
    for (int e = count; e % LANES<double>; e++)
        value[e] = value[0];
    V64 bad{};
    for (int e = 0; e < count; e += LANES<double>) {
        const Doubles x = load<Doubles>(value + e);
        bad |= ~(x - x == zero); // not finite
        Doubles code = nearest(larger(smaller(x / lsb, large), -large));
        if (turn > 0) {
            bad |= (code >= large) | (code <= -large);
            const Doubles turns = code / turn, whole = nearest(turns);
            code -= turn * (whole > turns ? whole - 1 : whole);
        }
        code = smaller(code, most);
        const V64 fits = (code >= zero + double(low)) & (code <= zero + double(high));
        bad |= ~fits;
        store(value + e, fits ? code : zero);
    }
    for (int e = 0; e < count; e++)
        to[e] = To(i32(value[e]));
    return none((V16)bad);
}

template <class To> bool taken(const Plan &p, const Source &s, int column, i64 event, int count, i64 low, i64 high, To *to) {
    const i64 stride = s.stride[column];
    const char *from = s.column[column] + event * stride;
    const double *unit = s.units + column;
    switch (s.type[column]) {
    case 104:
        return quantised<float>(from, stride, count, low, high, unit, p.columns, to);
    case 108:
        return quantised<double>(from, stride, count, low, high, unit, p.columns, to);
    case -1:
        return taken<std::int8_t>(from, stride, count, low, high, to);
    case 1:
        return taken<std::uint8_t>(from, stride, count, low, high, to);
    case -2:
        return taken<std::int16_t>(from, stride, count, low, high, to);
    case 2:
        return taken<std::uint16_t>(from, stride, count, low, high, to);
    case -4:
        return taken<std::int32_t>(from, stride, count, low, high, to);
    case 4:
        return taken<std::uint32_t>(from, stride, count, low, high, to);
    case 8: // beyond int64 it is negative here, and not admissible
        return taken<i64>(from, stride, count, low < 0 ? 0 : low, high, to);
    default:
        return taken<i64>(from, stride, count, low, high, to);
    }
}

// The constants of the entrance: of 32 columns (a row), or of two (a pair)
struct Constants {
    V16 low, span, least, most, add, keep, turn, even, down, up, bottom, top;
};

INLINE Constants constants_of_row(const Plan &p, int column) {
    const std::int16_t *at = p.entrance + column;
    V16 c[12];
    for (int i = 0; i < 12; i++)
        c[i] = load<V16>(at + i64(i) * p.padded);
    return {c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7], c[8], c[9], c[10], c[11]};
}

INLINE Constants constants_of_pair(const Plan &p, int column) {
    const std::int16_t *at = p.entrance + column;
    V16 c[12];
    for (int i = 0; i < 12; i++)
        c[i] = (V16)all<i32>(load<i32>(at + i64(i) * p.padded));
    return {c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7], c[8], c[9], c[10], c[11]};
}

// see entrance.py
template <int Q> INLINE void scale(const Plan &p, const Constants &c, V16 (&x)[Q]) {
#define EACH(expression)                                                                                               \
    UNROLL for (int q = 0; q < Q; q++) {                                                                               \
        V16 &v = x[q];                                                                                                 \
        v = expression;                                                                                                \
    }
    EACH(plus(smaller(larger(v, c.least), c.most), c.add))
    if (p.cuts)
        EACH(v & c.keep)
    if (p.turns)
        EACH(minus(v, shifted_right(v, c.turn) & c.even))
    if (p.goes_down)
        EACH(shifted_right(v, c.down))
    if (p.goes_up)
        EACH(shifted_left(v, c.up))
    if (p.saturates)
        EACH(smaller(larger(v, c.bottom), c.top))
#undef EACH
}

// Rows of dwords to dwords of the arena
INLINE void turn(char *arena, const Value &to, int first, int count, int event, V32 (&r)[LANES<i32>]) {
    transpose(r);
    for (int k = 0; k < count && k < LANES<i32>; k++)
        store(dword(arena, to, first + k) + 4 * event, r[k]);
}

// A whole block of rows of int16: the numbers themselves (RAW), scaled in pairs (SCALED) or in bytes (BYTE)
template <bool RAW, bool SCALED, bool BYTE>
__attribute__((noinline)) bool enter_rows(const Plan &plan, const char *rows, i64 bytes, char *arena, bool inside) {
    const Plan p = plan; // which no store can change
    constexpr int N = LANES<i32>, W = 2 * N, Q = 4; // a vector has the numbers of W columns
    V16 bad{};
    for (i64 c = 0; c < p.columns; c += BYTE ? 2 * W : W)
        for (i64 event = 0; event < EVENTS; event += N) {
            const int left = p.columns - c;
            V32 raw[BYTE ? 2 : 1][N], r[N];
            UNROLL for (int e = 0; e < N; e += Q) {
                const char *at = rows + (event + e) * bytes + 2 * c;
                V16 x[2][Q];
                UNROLL for (int part = 0; part < (BYTE ? 2 : 1); part++) {
                    const Constants constants = constants_of_row(p, c + part * W);
                    UNROLL for (int q = 0; q < Q; q++) {
                        V16 &v = x[part][q];
                        v = left > part * W ? some(at + q * bytes + part * 2 * W, left - part * W, inside) : V16{};
                        bad |= beyond(v, constants.low, constants.span);
                        if (RAW)
                            raw[part][e + q] = (V32)v;
                    }
                    if (SCALED)
                        scale<Q>(p, constants, x[part]);
                }
                if (SCALED)
                    UNROLL for (int q = 0; q < Q; q++)
                        r[e + q] = BYTE ? bytes_of(x[0][q], x[1][q]) : (V32)x[0][q];
            }
            if (RAW)
                for (int part = 0; part < (BYTE ? 2 : 1); part++)
                    turn(arena, p.input, (c + part * W) / 2, (left - part * W + 1) / 2, event, raw[part]);
            if (SCALED)
                turn(arena, p.scaled, BYTE ? c / 4 : c / 2, BYTE ? (left + 3) / 4 : (left + 1) / 2, event, r);
        }
    return none(bad);
}

// Events of a column as int16, from where they lie or from `room`, filled up to `size` with the first of them
const std::int16_t *column_of(const Plan &p, const Source &from, int c, i64 event, int count, int size,
                              std::int16_t *room, bool &good) {
    const i32 type = from.type[c], bytes = type < 0 ? -type : type;
    const char *at = from.column[c] + event * from.stride[c];
    if (from.stride[c] == bytes)
        for (int next = size * bytes; next < 2 * size * bytes; next += 64) // of the next blocks, into the second cache
            __builtin_prefetch(at + next, 0, 2);
    if (bytes > 2 || from.stride[c] != bytes || count < size) {
        good &= taken(p, from, c, event, count, p.low[c], p.high[c], room);
        for (int e = count; e < size; e++)
            room[e] = room[0];
    } else if (bytes == 2) { // what does not fit an int16 is negative
        const std::int16_t *there = reinterpret_cast<const std::int16_t *>(at);
        if (type == 2 && p.low[c] < 0) // which those of some admissible number could pass for
            good &= !negative(there, size);
        return there;
    } else if (type == 1) {
        widen<std::uint8_t>(at, size, room);
    } else {
        widen<std::int8_t>(at, size, room);
    }
    return room;
}

// Columns of any numbers: `count` events, of a block or of several whole ones, each to an arena `stride` bytes behind
// the last
bool enter_columns(const Plan &plan, const Source &from, i64 event, int count, char *arena, i64 stride) {
    const Plan p = plan; // which no store can change
    constexpr int Q = 4, N = Q * LANES<i32>;
    const int size = count < EVENTS ? EVENTS : count;
    const bool keep = !p.is_scaled || p.keeps_raw;
    bool good = true;
    V16 bad{};
    alignas(64) std::int16_t room[4][GROUP * EVENTS];
    alignas(64) static const std::int16_t zeros[GROUP * EVENTS] = {};
    for (int c = 0; c < p.columns; c += 4) {
        const std::int16_t *four[4];
        for (int i = 0; i < 4; i++)
            four[i] = c + i < p.columns ? column_of(p, from, c + i, event, count, size, room[i], good) : zeros;
        const Constants constants[2] = {constants_of_pair(p, c), constants_of_pair(p, c + 2)};
        for (int first = 0; first < size; first += N) {
            char *to = arena + first / EVENTS * stride;
            const int at = 4 * (first % EVENTS);
            V16 x[2][Q];
            UNROLL for (int i = 0; i < 2; i++) {
                if (c + 2 * i >= p.columns && i)
                    break;
                UNROLL for (int q = 0; q < Q; q += 2) {
                    const int lane = first + q * LANES<i32>;
                    pairs_of(four[2 * i] + lane, four[2 * i + 1] + lane, x[i][q], x[i][q + 1]);
                }
                UNROLL for (int q = 0; q < Q; q++)
                    bad |= beyond(x[i][q], constants[i].low, constants[i].span);
                if (keep)
                    UNROLL for (int q = 0; q < Q; q++)
                        store(dword(to, p.input, c / 2 + i) + at + q * BYTES, x[i][q]);
                if (!p.is_scaled)
                    continue;
                scale<Q>(p, constants[i], x[i]);
                if (p.scaled.format == I16)
                    UNROLL for (int q = 0; q < Q; q++)
                        store(dword(to, p.scaled, c / 2 + i) + at + q * BYTES, x[i][q]);
            }
            if (p.is_scaled && p.scaled.format == U8)
                UNROLL for (int q = 0; q < Q; q++)
                    store(dword(to, p.scaled, c / 4) + at + q * BYTES,
                          bytes_of_pairs(x[0][q], c + 2 < p.columns ? x[1][q] : V16{}));
        }
    }
    return none(bad) && good;
}

// A whole block of rows of int16
INLINE bool enter_rows(const Plan &p, const char *rows, i64 bytes, char *arena, bool inside) {
    if (!p.is_scaled)
        return enter_rows<true, false, false>(p, rows, bytes, arena, inside);
    if (p.scaled.format == U8)
        return p.keeps_raw ? enter_rows<true, true, true>(p, rows, bytes, arena, inside)
                           : enter_rows<false, true, true>(p, rows, bytes, arena, inside);
    return p.keeps_raw ? enter_rows<true, true, false>(p, rows, bytes, arena, inside)
                       : enter_rows<false, true, false>(p, rows, bytes, arena, inside);
}

// Rows of any numbers to rows of int16; whether all are admissible
template <class From>
bool narrowed(const Plan &p, const char *rows, i64 bytes, int count, std::int16_t *to, i64 width) {
    std::uint64_t bad = 0;
    const bool may_be_huge = From(-1) > From(0) && sizeof(From) == 8; // beyond int64
    for (int e = 0; e < count; e++)
        for (int c = 0; c < p.columns; c++) {
            const From x = load<From>(rows + e * bytes + c * sizeof(From));
            const std::uint64_t above = std::uint64_t(x) - std::uint64_t(p.low[c]);
            bad |= above > std::uint64_t(p.high[c]) - std::uint64_t(p.low[c]);
            bad |= may_be_huge ? std::uint64_t(x) >> 63 : 0;
            to[e * width + c] = std::int16_t(x);
        }
    return !bad;
}

bool narrowed(const Plan &p, const Source &from, const char *rows, int count, std::int16_t *to, i64 width) {
    const i64 bytes = from.row_bytes;
    switch (from.type[0]) {
    case -1:
        return narrowed<std::int8_t>(p, rows, bytes, count, to, width);
    case 1:
        return narrowed<std::uint8_t>(p, rows, bytes, count, to, width);
    case -2:
        return narrowed<std::int16_t>(p, rows, bytes, count, to, width);
    case 2:
        return narrowed<std::uint16_t>(p, rows, bytes, count, to, width);
    case -4:
        return narrowed<std::int32_t>(p, rows, bytes, count, to, width);
    case 4:
        return narrowed<std::uint32_t>(p, rows, bytes, count, to, width);
    case -8:
        return narrowed<std::int64_t>(p, rows, bytes, count, to, width);
    default:
        return narrowed<std::uint64_t>(p, rows, bytes, count, to, width);
    }
}

// A block of any layout, by way of `room`; false if a number is not admissible
bool enter(const Plan &p, const Source &from, i64 event, int count, i64 events, char *arena, char *room) {
    if (from.rows && p.input.format == I16) {
        const char *rows = from.rows + event * from.row_bytes;
        if (count == EVENTS && from.type[0] == -2)
            return enter_rows(p, rows, from.row_bytes, arena, (events - event - count) * from.row_bytes >= BYTES);
        const i64 width = p.columns + LANES<std::int16_t>; // so that whole vectors can be read
        std::int16_t *block = reinterpret_cast<std::int16_t *>(room);
        const bool good = narrowed(p, from, rows, count, block, width);
        for (int e = count; e < EVENTS; e++)
            std::memcpy(block + e * width, block, 2 * p.columns);
        return enter_rows(p, reinterpret_cast<const char *>(block), 2 * width, arena, true) && good;
    }
    if (p.input.format == I16)
        return enter_columns(p, from, event, count, arena, 0);
    bool good = true;
    for (int c = 0; c < p.columns; c++)
        if (p.input.format == I32)
            good &= taken(p, from, c, event, count, p.low[c], p.high[c], (i32 *)dword(arena, p.input, c));
        else
            good &= taken(p, from, c, event, count, p.low[c], p.high[c], (i64 *)dword(arena, p.input, 2 * c));
    return good;
}

// Adds square * w, of a w below 2**62, to 192 bits
void add_cube(std::uint64_t *to, u128 square, i64 w) {
    const u128 low = static_cast<u128>(static_cast<std::uint64_t>(square)) * static_cast<u128>(w);
    const u128 high = (square >> 64) * static_cast<u128>(w) + (low >> 64);
    u128 sum = static_cast<u128>(to[0]) + static_cast<std::uint64_t>(low);
    to[0] = static_cast<std::uint64_t>(sum);
    sum = (sum >> 64) + to[1] + static_cast<std::uint64_t>(high);
    to[1] = static_cast<std::uint64_t>(sum);
    to[2] += static_cast<std::uint64_t>(sum >> 64) + static_cast<std::uint64_t>(high >> 64);
}

void fill(const Histogram &h, i64 event, int count, const i64 *scores) {
    for (int e = 0; e < count; e++) {
        const i64 bin = ((scores[e] - h.low) >> h.shift) + (h.category ? h.category[event + e] * h.bins : 0);
        h.counts[bin]++;
        if (h.weight) {
            const i64 w = h.weight[event + e];
            h.sums[bin] += w;
            const u128 square = static_cast<u128>(w) * static_cast<u128>(w);
            h.squares[bin] += square;
            add_cube(h.cubes + 3 * bin, square, w);
        }
    }
}

// The steps of a block, and its scores
void run_block(const Plan &p, const Source &from, i64 event, int count, i64 events, char *arena, i64 *scores,
               const Histogram *histogram) {
    const i64 width = i64(p.columns) * (from.type[0] < 0 ? -from.type[0] : from.type[0]); // bytes of a row
    const bool dense = from.rows && from.row_bytes > 0 && from.row_bytes <= 2 * width;
    const int lines = dense && event + 2 * EVENTS <= events ? int((EVENTS * from.row_bytes + 63) / 64) : 0;
    Ahead ahead = {&from, event + EVENTS, 0, lines, lines / p.tiles + 1};
    for (int s = 0; s < p.steps; s++)
        take(p.step[s], arena, ahead);
    i64 out[EVENTS];
    for (int first = 0; first < EVENTS; first += LANES<i64>)
        store(out + first, element<i64>(arena, p.score, p.score.place[0], first));
    if (scores)
        std::memcpy(scores + event, out, 8 * count);
    if (histogram)
        fill(*histogram, event, count, out);
}

} // namespace

// Scores of `events` events, to `scores` or `histogram`, or both.  arena: aligned to 64 bytes; before it, room for what
// enters `GROUP` blocks; behind it, `room` for a block of rows.  Returns the first event of the first blocks with a
// number that is not admissible, or -1.
extern "C" i64 l1ad_run(const Plan *plan, const Source *from, i64 events, char *arena, char *room, i64 *scores,
                        const Histogram *histogram) {
    const Plan &p = *plan;
    const i64 bytes = i64(p.entered) * DWORD;
    i64 event = 0;
    // Columns lie far from each other: some blocks enter at once, so that each is read in a row.  Each has an arena of
    // its own, which begins before the last one's and lies over what that one no longer needs.
    for (; !from->rows && p.input.format == I16 && events - event >= GROUP * EVENTS; event += GROUP * EVENTS) {
        if (!enter_columns(p, *from, event, GROUP * EVENTS, arena, -bytes))
            return event;
        for (int block = 0; block < GROUP; block++)
            run_block(p, *from, event + block * EVENTS, EVENTS, events, arena - block * bytes, scores, histogram);
    }
    for (; event < events; event += EVENTS) {
        const int count = events - event < EVENTS ? int(events - event) : EVENTS;
        if (!enter(p, *from, event, count, events, arena, room))
            return event;
        run_block(p, *from, event, count, events, arena, scores, histogram);
    }
    return -1;
}
