// Patches in the isotypic basis, and outputs back from it, for a block of outputs. Outputs are counted along the pitch of
// the planes; what falls between rows is computed and thrown away.
#pragma once

#include "signals.h"

// Outputs are counted along the pitch of the planes, slice by slice of z; a block is P of one slice.
struct Geometry {
    Planes in;
    Int taps[TAPS], outputs, P, blocks_of_slice, blocks;

    Geometry(const Problem& p, Int wanted) : in(p) {
        Int k = 0;
        for (Int z = 0; z < p.kernel[0]; z++)
            for (Int y = 0; y < p.kernel[1]; y++)
                for (Int x = 0; x < p.kernel[2]; x++)
                    taps[k++] = in.offset(z * p.dilation[0], y * p.dilation[1], x * p.dilation[2]);
        outputs = (p.out[1] - 1) * in.row + p.out[2];
        blocks_of_slice = (outputs + wanted - 1) / wanted;
        P = round_up((outputs + blocks_of_slice - 1) / blocks_of_slice, LANES);
        blocks_of_slice = (outputs + P - 1) / P;
        blocks = blocks_of_slice * p.out[0];
    }

    // Where a block starts, in its slice and in a plane of the input.
    Int start(Int block) const { return block % blocks_of_slice * P; }
    Int start_in_plane(Int block) const { return block / blocks_of_slice * in.slice + start(block); }

    // The planes of one image, with what a block may read behind them.
    Int planes() const { return in.total() + *std::max_element(taps, taps + TAPS) + P + LANES; }
};

// The patches of `fields` fields from `first` on, under P outputs from `start` on, into rows of one buffer an irrep.
static void patches(const Geometry& g, const T* planes, Int start, Int first, Int fields, T* const* z, Int pitch) {
    for (Int n = 0; n < fields; n++)
        for (int copy = 0; copy < COPIES; copy++) {
            const T* x[LARGEST];
            T* to[BLOCKS];
            for (int a = 0; a < COPY_DIMENSION[copy]; a++)
                x[a] = planes + ((COPY_START[copy] + a) * g.in.fields + first + n) * g.in.plane + start;
            for (int b = 0; b < BLOCKS; b++) to[b] = z[b] + (n * COPIES_IN[b] + COPY_OFFSET[copy][b]) * DIMENSION[b] * pitch;
            patch_transform(COPY_IRREP[copy], x, g.taps, to, g.P, pitch);
        }
}

// Whether the patches of a convolution are its samples.
static bool reads_samples(const Problem& p) {
    bool samples = TAPS == 1;
    for (int a = 0; a < 3; a++) samples = samples && p.stride[a] == 1 && p.padding[a] == 0;
    return samples;
}

// What `patches` gives for samples, from the image itself.
static void sample_patches(const Image& image, Int start, Int P, Int first, Int fields, T* const* z, Int pitch) {
    const Int together = image.fields_together();
    for (Int x = 0; x < P; x += LANES) {
        const Int count = std::max<Int>(0, std::min<Int>(LANES, image.pixels() - start - x));
        for (Int n = 0; n < fields; n += together) {
            V in[TILED], out[ORDER];
            image.load_fields(start + x, 1, count, (first + n) * ORDER, in);
            for (Int f = 0; f < std::min(together, fields - n); f++) {
                channel_transform(in + f * ORDER, out);
                for (int h = 0; h < ORDER; h++) {
                    const int b = COORDINATE_BLOCK[h];
                    store(z[b] + ((n + f) * COPIES_IN[b] * DIMENSION[b] + h - BLOCK_START[b]) * pitch + x, out[h]);
                }
            }
        }
    }
}

// LANES outputs of one field, back from [block, row, field, P], the bias added.
static inline void inverse(const T* const* y, Int fields, Int m, Int P, Int o, T bias, V* made) {
    V in[ORDER];
    for (int h = 0; h < ORDER; h++) {
        const int b = COORDINATE_BLOCK[h], i = h - BLOCK_START[b], row = i / COLUMNS[b], column = i % COLUMNS[b];
        in[h] = load(y[b] + ((row * fields + m) * COLUMNS[b] + column) * P + o);
    }
    channel_inverse(in, made);
    for (int h = 0; h < ORDER; h++) made[h] += bias;
}

// Call act(o, place, count) for the outputs of a block that are no gap between rows: where they lie in it, and in an image.
template <class Act>
static void along_block(const Problem& p, const Geometry& g, Int block, Act act) {
    const Int pitch = g.in.row, start = g.start(block), end = std::min(start + g.P, g.outputs), z = block / g.blocks_of_slice;
    for (Int o = start; o < end; o = (o / pitch + 1) * pitch) {
        const Int row = o / pitch, x = o % pitch;
        if (x < p.out[2]) act(o - start, (z * p.out[1] + row) * p.out[2] + x, std::min(end - o, p.out[2] - x));
    }
}

// Write the outputs of a block.
static void write_block(const Problem& p, const Geometry& g, const T* const* y, const T* bias, Int block,
                        const Signal<T>& image) {
    const Int together = image.fields_together();
    along_block(p, g, block, [&](Int o, Int place, Int count) {
        for (Int x = 0; x < count; x += LANES)
            for (Int m = 0; m < p.out_fields; m += together) {
                const Int fields = std::min(together, p.out_fields - m);
                V made[TILED];
                for (Int f = 0; f < fields; f++)
                    inverse(y, p.out_fields, m + f, g.P, o + x, bias ? bias[m + f] : T(0), made + f * ORDER);
                image.store_fields(place + x, 1, std::min<Int>(LANES, count - x), m * ORDER, fields * ORDER, made);
            }
    });
}
