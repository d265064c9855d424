// The transpose of the convolution: the gradient of its input from that of its output. Every step of the convolution the
// other way round. A thread takes some input fields of an image; for every block of outputs it transforms the gradient,
// multiplies by the transposed blocks of the weight, and adds the patches to the planes of its fields, which it transforms
// back in the end. What no window sees stays zero.
#pragma once

#include "patches.h"
#include "products.h"
#include "scratch.h"

// Bytes of the planes of the fields that a thread takes at once.
constexpr Int PLANES = 1 << 23;

// The blocks [out field, in field, FLAT] as a matrix each: rows (in field, copy) by columns (out field, copy).
static void transpose_blocks(const Problem& p, const T* from, T* to) {
#pragma omp for schedule(static)
    for (Int n = 0; n < p.in_fields; n++)
        for (int b = 0; b < BLOCKS; b++)
            for (Int m = 0; m < p.out_fields; m++) {
                const T* block = from + (m * p.in_fields + n) * FLAT + FLAT_START[b];
                const Int columns = p.out_fields * ROWS_OUT[b];
                T* at = to + FLAT_START[b] * p.in_fields * p.out_fields + n * ROWS_IN[b] * columns + m * ROWS_OUT[b];
                for (int i = 0; i < ROWS_OUT[b]; i++)
                    for (int j = 0; j < ROWS_IN[b]; j++) at[j * columns + i] = block[i * ROWS_IN[b] + j];
            }
}

// The channel transform of the gradients of a block of outputs: [block, field, row, P], zero between rows.
static void read_block(const Problem& p, const Geometry& g, const Image& gradient, Int block, T* const* y) {
    const Int together = gradient.fields_together();
    zeroed(y[0], ORDER * p.out_fields * g.P);
    along_block(p, g, block, [&](Int o, Int place, Int count) {
        for (Int x = 0; x < count; x += LANES)
            for (Int m = 0; m < p.out_fields; m += together) {
                V in[TILED], out[ORDER];
                gradient.load_fields(place + x, 1, std::min<Int>(LANES, count - x), m * ORDER, in);
                for (Int f = 0; f < std::min(together, p.out_fields - m); f++) {
                    channel_transform(in + f * ORDER, out);
                    for (int h = 0; h < ORDER; h++) {
                        const int b = COORDINATE_BLOCK[h];
                        T* to = y[b] + ((m + f) * ROWS_OUT[b] * COLUMNS[b] + h - BLOCK_START[b]) * g.P + o + x;
                        store_spaced(to, 1, out[h], count - x);
                    }
                }
            }
    });
}

// Add one channel of the patches of a field to its plane, a tap at a time: neighbouring taps overlap.
static void add_taps(const Geometry& g, const T* taps, T* plane) {
    for (int k = 0; k < TAPS; k++)
        for (Int o = 0; o < g.P; o += LANES) {
            T* to = plane + g.taps[k] + o;
            store(to, load(to) + load(taps + k * g.P + o));
        }
}

// The transpose of `patches`: add those of `fields` fields from `first` on. `taps` has room for one channel.
static void add_patches(const Geometry& g, T* const* z, Int start, Int first, Int fields, T* taps, T* planes) {
    for (Int n = 0; n < fields; n++)
        for (int copy = 0; copy < COPIES; copy++)
            for (int a = 0; a < COPY_DIMENSION[copy]; a++) {
                for (Int o = 0; o < g.P; o += LANES) {
                    const T* from[BLOCKS];
                    V positions[TAPS], made[TAPS];
                    for (int b = 0; b < BLOCKS; b++)
                        from[b] = z[b] + (n * COPIES_IN[b] + COPY_OFFSET[copy][b]) * DIMENSION[b] * g.P + o;
                    UNCOUPLE[COPY_IRREP[copy]][a](from, g.P, positions);
                    position_inverse(positions, made);
                    for (int k = 0; k < TAPS; k++) store(taps + k * g.P + o, made[k]);
                }
                add_taps(g, taps, planes + ((COPY_START[copy] + a) * g.in.fields + first + n) * g.in.plane + start);
            }
}

// Some input fields of an image, as a problem of their own.
struct Share {
    const Problem& p;
    Int first, fields;
    const T* blocks;
    Image gradient;
    Signal<T> to;

    void run(Work& work) const {
        Problem part = p;
        part.in_fields = fields;
        const Geometry g(part, BLOCK);
        T* planes = zeroed(scratch.planes.ask(g.planes()), g.planes());
        T* taps = scratch.taps.ask(TAPS * g.P);
        for (Int block = 0; block < g.blocks; block++) {
            read_block(p, g, gradient, block, work.y_of);
            for (Int n = 0; n < fields; n += work.chunk) {
                const Int some = std::min(work.chunk, fields - n);
                multiply(first + n, some, work);
                add_patches(g, work.z_of, g.start_in_plane(block), n, some, taps, planes);
            }
        }
        for (Int row = 0; row < p.in[0] * p.in[1]; row++) write_row(to, g.in, row, first, planes);
    }

    void multiply(Int n, Int some, Work& work) const {
        for (int b = 0; b < BLOCKS; b++) {
            const Int columns = p.out_fields * ROWS_OUT[b];
            const Int rows = some * ROWS_IN[b];
            const T* first = blocks + FLAT_START[b] * p.in_fields * p.out_fields + n * ROWS_IN[b] * columns;
            product({first, rows, columns, 0, 0}, 1, columns, work.y_of[b], work.z_of[b], rows, COLUMNS[b] * work.P, false);
        }
    }
};

// Input fields that a thread takes at once: as many as its planes may hold, and fewer where images are too few to share.
static Int fields_of_share(const Problem& p, const Geometry& g) {
    const Int shares = p.batch % p.threads == 0 || p.batch >= 4 * p.threads ? 1 : p.threads;
    const Int most = PLANES / (ORDER * g.in.plane * Int(sizeof(T))), even = (p.in_fields + shares - 1) / shares;
    const Int fields = std::max<Int>(1, std::min(most, even));
    return fields > TOGETHER ? fields / TOGETHER * TOGETHER : fields;
}

extern "C" void input_gradient(const Problem* problem, const T* gradient, const T* blocks, T* to) {
    const Problem& p = *problem;
    const Geometry g(p, BLOCK);
    const Int share = fields_of_share(p, g), shares = (p.in_fields + share - 1) / share;
    T* transposed = scratch.blocks.ask(p.in_fields * p.out_fields * FLAT);
#pragma omp parallel num_threads(p.threads)
    {
        transpose_blocks(p, blocks, transposed);
        Work work(g.P, chunk_for(share, g.P, CACHE), p.out_fields);
#pragma omp for schedule(dynamic, 1)
        for (Int i = 0; i < p.batch * shares; i++) {
            const Int b = i / shares, first = i % shares * share;
            Share{p, first, std::min(share, p.in_fields - first), transposed,
                  image_of(gradient, b, p.out_fields, p.out, p.out_channels_last),
                  image_of(to, b, p.in_fields, p.in, p.in_channels_last)}
                .run(work);
        }
        scratch.trim();
    }
}
