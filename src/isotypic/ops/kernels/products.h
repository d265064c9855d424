// Products with what stays in the cache: of a block of the weight with patches, and of gradients with patches.
#pragma once

#include "vectors.h"

// One block of the weight, rows (copy, field) by columns (field, copy), where it lies. All copies are rows of one product:
// those of one copy alone fill few tiles where there are few fields.
struct Matrix {
    const T* data;
    Int fields, row_pitch, copy_pitch, field_pitch;
};

// Where `count` rows (copy, field) from one on start.
static inline void find_rows(Int row, int count, Int fields, Int field_pitch, Int copy_pitch, Int* starts) {
    Int copy = row / fields, field = row % fields;
    for (int r = 0; r < count; r++) {
        starts[r] = copy * copy_pitch + field * field_pitch;
        if (++field == fields) field = 0, copy++;
    }
}

// c[R, C vectors] (+)= a[R from `first` on, (fields, depth)] b[(fields, depth), C vectors]
template <int R, int C>
static void tile(const Matrix& a, Int first, Int fields, Int depth, const T* b, T* c, Int pitch, bool add) {
    Int row_of[R];
    V sum[R][C];
    find_rows(first, R, a.fields, a.row_pitch, a.copy_pitch, row_of);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 8
        for (int j = 0; j < C; j++) sum[r][j] = add ? load(c + r * pitch + j * LANES) : V{};
    for (Int n = 0; n < fields; n++) {
        const T* left = a.data + n * a.field_pitch;
        for (Int k = 0; k < depth; k++, b += pitch) {
            V row[C];
#pragma GCC unroll 8
            for (int j = 0; j < C; j++) row[j] = held(load(b + j * LANES));
#pragma GCC unroll 8
            for (int r = 0; r < R; r++) {
                T factor = left[row_of[r] + k];
#pragma GCC unroll 8
                for (int j = 0; j < C; j++) sum[r][j] += factor * row[j];
            }
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 8
        for (int j = 0; j < C; j++) store(c + r * pitch + j * LANES, sum[r][j]);
}

typedef void (*Tile)(const Matrix&, Int, Int, Int, const T*, T*, Int, bool);

template <int R>
static Tile tile_of(Int cols) {
    static_assert(TILE_COLS == 4 || TILE_COLS == 2, "tiles are four or two vectors wide");
    switch (cols) {
        case 1: return tile<R, 1>;
        case 2: return tile<R, 2>;
        case 3: return tile<R, TILE_COLS == 4 ? 3 : 1>;
        default: return tile<R, TILE_COLS>;
    }
}

static Tile tile_of(Int rows, Int cols) {
    switch (rows) {
        case 1: return tile_of<1>(cols);
        case 2: return tile_of<2>(cols);
        case 3: return tile_of<3>(cols);
        case 4: return tile_of<4>(cols);
        case 5: return tile_of<(TILE_ROWS > 4 ? 5 : 1)>(cols);
        default: return tile_of<(TILE_ROWS > 4 ? 6 : 1)>(cols);
    }
}

// c[rows, cols] (+)= a[rows, (fields, depth)] b[(fields, depth), cols]; cols is a multiple of LANES
static void product(const Matrix& a, Int fields, Int depth, const T* b, T* c, Int rows, Int cols, bool add) {
    for (Int j = 0; j < cols; j += TILE_COLS * LANES) {
        Int wide = std::min<Int>(TILE_COLS, (cols - j) / LANES);
        for (Int r = 0, left = (rows + TILE_ROWS - 1) / TILE_ROWS; left > 0; left--) {
            Int high = (rows - r + left - 1) / left;
            tile_of(high, wide)(a, r, fields, depth, b + j, c + r * cols + j, cols, add);
            r += high;
        }
    }
}

#if defined(__AVX512F__) || defined(__AVX__)
template <int S>
static inline void fold_lanes(V* v) {
    const Exchange<S> masks;
#pragma GCC unroll 16
    for (int i = 0; i < S; i++)
        v[i] = __builtin_shuffle(v[i], v[i + S], masks.low) + __builtin_shuffle(v[i], v[i + S], masks.high);
}

// The sums of the lanes of LANES vectors, as one vector.
static inline V sums_of_lanes(V* v) {
    if (LANES > 8) fold_lanes<(LANES > 8 ? 8 : 1)>(v);
    if (LANES > 4) fold_lanes<(LANES > 4 ? 4 : 1)>(v);
    fold_lanes<2>(v);
    fold_lanes<1>(v);
    return v[0];
}
#else
static inline V sums_of_lanes(V* v) {
    V out;
    for (int i = 0; i < LANES; i++) {
        out[i] = 0;
        for (int l = 0; l < LANES; l++) out[i] += v[i][l];
    }
    return out;
}
#endif

// Samples to be multiplied with each other: `parts` stretches of P, each of `components`, in rows.
struct Stretches {
    const T* const* left;  // where each stretch starts on the left, whose rows are (copy, field)
    Int fields, left_pitch, left_component;
    const T* right;  // stretches follow each other, so do components
    Int parts, P, components;
};

// to[r][j] += sum of the left row at row_of[r] times right row column + j
template <int R, int C>
static void inner(const Stretches& s, const Int* row_of, Int column, T* const* to) {
    constexpr int SUMS = (R * C + LANES - 1) / LANES * LANES;
    V sum[SUMS] = {};
    const Int right_pitch = s.components * s.parts * s.P;
    const T* right = s.right + column * right_pitch;
    for (Int i = 0; i < s.components; i++)
        for (Int part = 0; part < s.parts; part++, right += s.P) {
            const T* left = s.left[part] + i * s.left_component;
            for (Int k = 0; k < s.P; k += LANES) {
                V rows[R];
#pragma GCC unroll 8
                for (int r = 0; r < R; r++) rows[r] = held(load(left + row_of[r] + k));
#pragma GCC unroll 8
                for (int j = 0; j < C; j++) {
                    V factor = held(load(right + j * right_pitch + k));
#pragma GCC unroll 8
                    for (int r = 0; r < R; r++) sum[j * R + r] += rows[r] * factor;
                }
            }
        }
    T done[SUMS];
    for (int i = 0; i < SUMS; i += LANES) store(done + i, sums_of_lanes(sum + i));
    for (int r = 0; r < R; r++)
        for (int j = 0; j < C; j++) to[r][j] += done[j * R + r];
}

// to[out copy * copies + out field * row_pitch + field * field_pitch + copy] += left row times right row (field, copy)
static void inner_products(const Stretches& s, Int rows, Int fields, Int copies, T* to, Int row_pitch, Int field_pitch) {
    T gathered[4][4], *const at[4] = {gathered[0], gathered[1], gathered[2], gathered[3]};
    const Int columns = fields * copies;
    Int left[4], made[4];
    for (Int r = 0, high; r < rows; r += high) {
        high = rows - r >= 4 ? 4 : 1;
        find_rows(r, high, s.fields, s.left_pitch, s.components * s.left_component, left);
        find_rows(r, high, s.fields, row_pitch, copies, made);
        for (Int j = 0, wide; j < columns; j += wide) {
            wide = columns - j >= 4 ? 4 : 1;
            std::memset(gathered, 0, sizeof gathered);
            auto run = high == 4 ? (wide == 4 ? inner<4, 4> : inner<4, 1>) : (wide == 4 ? inner<1, 4> : inner<1, 1>);
            run(s, left, j, at);
            for (int c = 0; c < wide; c++) {
                T* column = to + (j + c) / copies * field_pitch + (j + c) % copies;
                for (int i = 0; i < high; i++) column[made[i]] += gathered[i][c];
            }
        }
    }
}
