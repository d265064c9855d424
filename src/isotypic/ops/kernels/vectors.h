// Vectors of the machine: loads, stores, squares exchanged between channels last and planes. GCC's vector extensions, so
// that one text serves every instruction set; what the machine has decides the sizes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <numeric>

#if defined(__AVX__)
#include <immintrin.h>
#endif

#ifdef ISOTYPIC_DOUBLE
typedef double T;
#else
typedef float T;
#endif

#if defined(__AVX512F__)
constexpr int BYTES = 64, TILE_ROWS = 6, TILE_COLS = 4;
#elif defined(__AVX__)
constexpr int BYTES = 32, TILE_ROWS = 6, TILE_COLS = 2;
#else
constexpr int BYTES = 16, TILE_ROWS = 4, TILE_COLS = 2;
#endif

constexpr int LANES = BYTES / sizeof(T);
typedef T V __attribute__((vector_size(BYTES)));
typedef T Unaligned __attribute__((vector_size(BYTES), aligned(sizeof(T)), may_alias));
typedef int64_t Int;

static inline V load(const T* p) { return *reinterpret_cast<const Unaligned*>(p); }
static inline void store(T* p, V v) { *reinterpret_cast<Unaligned*>(p) = v; }

// The first `count` lanes, the rest of the vector zero and the rest of the memory untouched.
#if defined(__AVX512F__)
static inline int lanes(Int count) { return (1 << std::min<Int>(count, LANES)) - 1; }
#endif
#if defined(__AVX512F__) && defined(ISOTYPIC_DOUBLE)
static inline V load_some(const T* p, Int count) { return (V)_mm512_maskz_loadu_pd(lanes(count), p); }
static inline void store_some(T* p, V v, Int count) { _mm512_mask_storeu_pd(p, lanes(count), (__m512d)v); }
#elif defined(__AVX512F__)
static inline V load_some(const T* p, Int count) { return (V)_mm512_maskz_loadu_ps(lanes(count), p); }
static inline void store_some(T* p, V v, Int count) { _mm512_mask_storeu_ps(p, lanes(count), (__m512)v); }
#else
static inline V load_some(const T* p, Int count) {
    V v = {};
    for (int l = 0; l < std::min<Int>(count, LANES); l++) v[l] = p[l];
    return v;
}
static inline void store_some(T* p, V v, Int count) {
    for (int l = 0; l < std::min<Int>(count, LANES); l++) p[l] = v[l];
}
#endif

// Up to LANES values `step` apart; what is not loaded is zero, what is not stored stays.
static inline V load_spaced(const T* p, Int step, Int count) {
    if (step == 1) return count >= LANES ? load(p) : load_some(p, count);
    V v = {};
    for (int l = 0; l < std::min<Int>(count, LANES); l++) v[l] = p[l * step];
    return v;
}
static inline void store_spaced(T* p, Int step, V v, Int count) {
    if (step == 1) return count >= LANES ? store(p, v) : store_some(p, v, count);
    for (int l = 0; l < std::min<Int>(count, LANES); l++) p[l * step] = v[l];
}

// A value that is used several times: GCC would rather load it again each time.
static inline V held(V v) {
#if defined(__AVX512F__)
    asm("" : "+v"(v));
#elif defined(__AVX__)
    asm("" : "+x"(v));
#endif
    return v;
}

static Int round_up(Int n, Int m) { return (n + m - 1) / m * m; }

// Rows whose pitch is an odd number of vectors do not fall on each other in the cache.
static Int odd_vectors(Int n) { return (round_up(n, LANES) / LANES | 1) * LANES; }

#if defined(__AVX512F__) || defined(__AVX__)
// Where the lanes come from when rows i and i + S of a square of LANES swap their off-diagonal squares of S.
template <int S>
struct Exchange {
    decltype(V{} == V{}) low, high;
    constexpr Exchange() : low{}, high{} {
        for (int l = 0; l < LANES; l++) {
            low[l] = (l & S) ? LANES + l - S : l;
            high[l] = (l & S) ? LANES + l : l + S;
        }
    }
};

template <int S>
static inline void exchange(V* rows) {
    const Exchange<S> masks;
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++)
        if (!(i & S)) {
            V a = rows[i], b = rows[i + S];
            rows[i] = __builtin_shuffle(a, b, masks.low);
            rows[i + S] = __builtin_shuffle(a, b, masks.high);
        }
}

// A square of LANES rows with rows and columns exchanged, in place.
static inline void transpose(V* tile) {
    exchange<1>(tile);
    exchange<2>(tile);
    if (LANES > 4) exchange<(LANES > 4 ? 4 : 1)>(tile);
    if (LANES > 8) exchange<(LANES > 8 ? 8 : 1)>(tile);
}
#else
static inline void transpose(V* tile) {
    T all[LANES * LANES];
    for (int i = 0; i < LANES; i++) store(all + i * LANES, tile[i]);
    for (int i = 0; i < LANES; i++)
        for (int l = 0; l < LANES; l++) tile[i][l] = all[l * LANES + i];
}
#endif

// A square of LANES rows and columns, zero where there are fewer, with rows and columns exchanged.
static inline void load_transposed(const T* from, Int pitch, Int rows, Int cols, V* tile) {
    if (rows >= LANES && cols >= LANES) {
#pragma GCC unroll 16
        for (int i = 0; i < LANES; i++) tile[i] = load(from + i * pitch);
    } else {
        for (int i = 0; i < LANES; i++) tile[i] = i < rows ? load_some(from + i * pitch, cols) : V{};
    }
    transpose(tile);
}

// The same the other way: as many rows and columns as there are.
static inline void store_transposed(T* to, Int pitch, Int rows, Int cols, V* tile) {
    transpose(tile);
    if (rows >= LANES && cols >= LANES) {
#pragma GCC unroll 16
        for (int i = 0; i < LANES; i++) store(to + i * pitch, tile[i]);
    } else {
        for (int i = 0; i < std::min<Int>(rows, LANES); i++) store_some(to + i * pitch, tile[i], cols);
    }
}
