// Weights and their blocks, LANES pairs of fields at a time. Both ways are the small transforms of a patch and a sparse
// matrix, so that a weight costs about as much as a few of the samples that it meets.
#pragma once

#include "vectors.h"

#include "group.h"

constexpr int WEIGHTS = ORDER * TAPS;
static constexpr int round_to_lanes(int n) { return (n + LANES - 1) / LANES * LANES; }

// Columns [i, i + LANES), and so on, of up to LANES rows of a matrix, a vector a column; and back.
static void load_columns(const T* from, Int pitch, Int rows, Int columns, V* to) {
    for (Int i = 0; i < columns; i += LANES) load_transposed(from + i, pitch, rows, columns - i, to + i);
}
static void store_columns(T* to, Int pitch, Int rows, Int columns, V* from) {
    for (Int i = 0; i < columns; i += LANES) store_transposed(to + i, pitch, rows, columns - i, from + i);
}

static void transform_weights(const V* weight, V* z) {
    V channels[WEIGHTS];
    for (int k = 0; k < TAPS; k++) {
        V in[ORDER], out[ORDER];
        for (int h = 0; h < ORDER; h++) in[h] = weight[h * TAPS + k];
        channel_transform(in, out);
        for (int h = 0; h < ORDER; h++) channels[h * TAPS + k] = out[h];
    }
    for (int h = 0; h < ORDER; h++) position_transform(channels + h * TAPS, z + h * TAPS);
}

static void transform_weights_back(const V* z, V* weight) {
    V channels[WEIGHTS];
    for (int h = 0; h < ORDER; h++) position_inverse(z + h * TAPS, channels + h * TAPS);
    for (int k = 0; k < TAPS; k++) {
        V in[ORDER], out[ORDER];
        for (int h = 0; h < ORDER; h++) in[h] = channels[h * TAPS + k];
        channel_inverse(in, out);
        for (int h = 0; h < ORDER; h++) weight[h * TAPS + k] = out[h];
    }
}

static inline V sparse_row(const int* starts, const int* columns, const T* values, int row, const V* x) {
    V sum = {};
    for (int i = starts[row]; i < starts[row + 1]; i++) sum += values[i] * x[columns[i]];
    return sum;
}

extern "C" void weight_to_blocks(Int pairs, const T* weight, T* blocks, Int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (Int p = 0; p < pairs; p += LANES) {
        const Int count = std::min<Int>(LANES, pairs - p);
        V w[round_to_lanes(WEIGHTS)], z[WEIGHTS], entries[round_to_lanes(FLAT)];
        load_columns(weight + p * WEIGHTS, WEIGHTS, count, WEIGHTS, w);
        transform_weights(w, z);
        for (int r = 0; r < FLAT; r++) entries[r] = sparse_row(ENTRY_START, ENTRY_COLUMN, ENTRY_VALUE, r, z);
        store_columns(blocks + p * FLAT, FLAT, count, FLAT, entries);
    }
}

// The transposed map, which carries a gradient of blocks to one of the weight.
extern "C" void blocks_to_weight(Int pairs, const T* blocks, T* weight, Int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (Int p = 0; p < pairs; p += LANES) {
        const Int count = std::min<Int>(LANES, pairs - p);
        V w[round_to_lanes(WEIGHTS)], z[WEIGHTS] = {}, entries[round_to_lanes(FLAT)];
        load_columns(blocks + p * FLAT, FLAT, count, FLAT, entries);
        for (int r = 0; r < FLAT; r++)
            for (int i = ENTRY_START[r]; i < ENTRY_START[r + 1]; i++) z[ENTRY_COLUMN[i]] += ENTRY_VALUE[i] * entries[r];
        transform_weights_back(z, w);
        store_columns(weight + p * WEIGHTS, WEIGHTS, count, WEIGHTS, w);
    }
}

// The blocks [in field, out field, R] of the adjoint of a convolution with blocks [out field, in field, R].
extern "C" void adjoint_blocks(Int out_fields, Int in_fields, const T* blocks, T* adjoint, Int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (Int n = 0; n < in_fields; n++)
        for (Int m = 0; m < out_fields; m += LANES) {
            const Int count = std::min<Int>(LANES, out_fields - m);
            V from[round_to_lanes(FLAT)], to[round_to_lanes(FLAT)];
            load_columns(blocks + (m * in_fields + n) * FLAT, in_fields * FLAT, count, FLAT, from);
            for (int r = 0; r < FLAT; r++) to[r] = sparse_row(ADJOINT_START, ADJOINT_COLUMN, ADJOINT_VALUE, r, from);
            store_columns(adjoint + (n * out_fields + m) * FLAT, FLAT, count, FLAT, to);
        }
}
