// The isotypic convolution on a CPU, and the gradient of its weight; that of its input is in "transpose.h". The tables of
// one group and kernel come from a generated header, "group.h". A block of outputs is a thread's work: its patches are
// transformed into a buffer that stays in the cache, multiplied by the blocks of the weight at once, and transformed back.

#include "patches.h"
#include "products.h"
#include "scratch.h"
#include "transpose.h"
#include "weights.h"

// Samples that a gradient sums at once, and bytes of all planes of a group of images whose gradients are summed: by the
// sizes of caches.
constexpr Int UNIT = 752, GROUP = 1 << 22;

// One image of a convolution while its blocks are computed: from its planes, or from the image where that will do.
struct Job {
    const Problem& p;
    const Geometry& g;
    const T *weight, *bias;
    Image image;
    const T* planes;
    Signal<T> to;

    void run(Int block, Work& work) const {
        for (Int n = 0; n < p.in_fields; n += work.chunk) {
            const Int fields = std::min(work.chunk, p.in_fields - n);
            if (planes)
                patches(g, planes, g.start_in_plane(block), n, fields, work.z_of, work.P);
            else
                sample_patches(image, g.start_in_plane(block), work.P, n, fields, work.z_of, work.P);
            multiply(n, fields, work);
        }
        write_block(p, g, work.y_of, bias, block, to);
    }

    void multiply(Int n, Int fields, Work& work) const {
        for (int b = 0; b < BLOCKS; b++) {
            const Matrix block{weight + n * FLAT + FLAT_START[b], p.out_fields, p.in_fields * FLAT, ROWS_IN[b], FLAT};
            const Int rows = ROWS_OUT[b] * p.out_fields, cols = COLUMNS[b] * work.P;
            product(block, fields, ROWS_IN[b], work.z_of[b], work.y_of[b], rows, cols, n > 0);
        }
    }
};

extern "C" void forward(const Problem* problem, const T* x, const T* weight, const T* bias, T* y) {
    const Problem& p = *problem;
    const Geometry g(p, BLOCK);
    const bool direct = reads_samples(p);
    const Int rows = direct ? 0 : p.in[0] * p.in[1], size = direct ? 0 : g.planes();
    const Int chunk = round_up(chunk_for(p.in_fields, g.P, CACHE), TOGETHER);
    const bool whole = p.batch >= p.threads && (p.batch % p.threads == 0 || p.batch >= 4 * p.threads);
    T* shared = whole || direct ? nullptr : zeroed(scratch.planes.ask(size), size);
#pragma omp parallel num_threads(p.threads)
    {
        T* planes = whole && !direct ? zeroed(scratch.planes.ask(size), size) : shared;
        Work work(g.P, chunk, p.out_fields);
        const auto job = [&](Int b) {
            return Job{p, g, weight, bias, image_of(x, b, p.in_fields, p.in, p.in_channels_last), planes,
                       image_of(y, b, p.out_fields, p.out, p.out_channels_last)};
        };
        if (whole) {
#pragma omp for schedule(dynamic, 1)
            for (Int b = 0; b < p.batch; b++) {
                const Job one = job(b);
                for (Int r = 0; r < rows; r++) transform_row(one.image, g.in, r, planes);
                for (Int i = 0; i < g.blocks; i++) one.run(i, work);
            }
        } else {
            for (Int b = 0; b < p.batch; b++) {
                const Job one = job(b);
#pragma omp for schedule(static)
                for (Int r = 0; r < rows; r++) transform_row(one.image, g.in, r, planes);
#pragma omp for schedule(static)
                for (Int i = 0; i < g.blocks; i++) one.run(i, work);
            }
        }
        scratch.trim();
    }
}

// The gradient of the weight.

// Add what some blocks of some images give to the gradient of fields `first ... first + fields`.
struct Correlation {
    const Problem& p;
    const Geometry& g;
    const Planes& out;
    const T *x, *planes, *gradients;  // the first image of the group, its planes unless samples are read, and gradients
    Int in_size, out_size;

    void add(Int start, Int blocks, Int first, Int fields, T* const* z, T* to) const {
        const T* left[UNIT / LANES];
        T* at[BLOCKS];
        for (Int i = 0; i < blocks; i++) {
            Int image = (start + i) / g.blocks, block = (start + i) % g.blocks;
            left[i] = gradients + image * out_size + block / g.blocks_of_slice * out.slice + g.start(block);
            for (int b = 0; b < BLOCKS; b++) at[b] = z[b] + i * g.P;
            if (planes)
                patches(g, planes + image * in_size, g.start_in_plane(block), first, fields, at, blocks * g.P);
            else
                sample_patches(image_of(x, image, p.in_fields, p.in, p.in_channels_last), g.start_in_plane(block), g.P, first,
                               fields, at, blocks * g.P);
        }
        for (int b = 0; b < BLOCKS; b++) add_block(b, left, blocks, first, fields, z[b], to);
    }

    void add_block(int b, const T** left, Int blocks, Int first, Int fields, const T* z, T* to) const {
        const T* moved[UNIT / LANES];
        for (Int i = 0; i < blocks; i++) moved[i] = left[i] + BLOCK_START[b] * p.out_fields * out.plane;
        const Stretches s{moved, p.out_fields, out.plane, p.out_fields * out.plane, z, blocks, g.P, COLUMNS[b]};
        T* block = to + first * FLAT + FLAT_START[b];
        inner_products(s, ROWS_OUT[b] * p.out_fields, fields, ROWS_IN[b], block, p.in_fields * FLAT, FLAT);
    }
};

// The gradient of a bias is the sum of the invariant coordinate, the first.
static void sum_invariant(const Planes& out, const T* gradients, Int field, T* to) {
    V sum = {};
    const T* plane = gradients + field * out.plane;
    for (Int o = 0; o < out.plane; o += LANES) sum += load(plane + o);
    for (int l = 0; l < LANES; l++) *to += sum[l];
}

extern "C" void weight_gradient(const Problem* problem, const T* x, const T* gradient, T* to, T* to_bias) {
    const Problem& p = *problem;
    const Geometry g(p, UNIT);
    const Planes out(p.out_fields, p.out, g.in.row, g.blocks_of_slice * g.P);
    const bool direct = reads_samples(p);
    const Int in_size = direct ? 0 : round_up(g.planes(), LANES), out_size = out.total();
    const Int images = std::max<Int>(1, std::min(p.batch, GROUP / ((in_size + out_size) * Int(sizeof(T)))));
    const Int in_rows = direct ? 0 : p.in[0] * p.in[1], out_rows = p.out[0] * p.out[1];
    const Int unit = std::max<Int>(1, UNIT / g.P), most = chunk_for(p.in_fields, unit * g.P, CACHE);
    const Int shares = round_up((p.in_fields + most - 1) / most, p.threads);
    const Int chunk = round_up((p.in_fields + shares - 1) / shares, direct ? TOGETHER : 1);
    T* planes = direct ? nullptr : scratch.planes.ask(images * in_size);
    T* gradients = scratch.products.ask(images * out_size);
    std::memset(to, 0, sizeof(T) * p.out_fields * p.in_fields * FLAT);
    if (to_bias) std::memset(to_bias, 0, sizeof(T) * p.out_fields);
#pragma omp parallel num_threads(p.threads)
    {
        T *z = scratch.patches.ask(TAPS * ORDER * chunk * unit * g.P), *z_of[BLOCKS];
        for (int b = 0; b < BLOCKS; z += COPIES_IN[b] * DIMENSION[b] * chunk * unit * g.P, b++) z_of[b] = z;
#pragma omp for schedule(static)
        for (Int i = 0; i < images; i++) {
            zeroed(gradients + i * out_size, out_size);
            if (planes) zeroed(planes + i * in_size, in_size);
        }
        for (Int first = 0; first < p.batch; first += images) {
            const Int count = std::min(images, p.batch - first);
            const T* group = x + first * p.in_fields * ORDER * p.in[0] * p.in[1] * p.in[2];
            const Correlation correlation{p, g, out, group, planes, gradients, in_size, out_size};
#pragma omp for schedule(static)
            for (Int r = 0; r < count * in_rows; r++)
                transform_row(image_of(group, r / in_rows, p.in_fields, p.in, p.in_channels_last), g.in, r % in_rows,
                              planes + r / in_rows * in_size);
#pragma omp for schedule(static)
            for (Int r = 0; r < count * out_rows; r++)
                transform_row(image_of(gradient, first + r / out_rows, p.out_fields, p.out, p.out_channels_last), out,
                              r % out_rows, gradients + r / out_rows * out_size);
#pragma omp for schedule(dynamic, 1)
            for (Int n = 0; n < p.in_fields; n += chunk)
                for (Int i = 0; i < count * g.blocks; i += unit)
                    correlation.add(i, std::min(unit, count * g.blocks - i), n, std::min(chunk, p.in_fields - n), z_of, to);
            if (to_bias) {
#pragma omp for schedule(static)
                for (Int m = 0; m < p.out_fields; m++)
                    for (Int i = 0; i < count; i++) sum_invariant(out, gradients + i * out_size, m, to_bias + m);
            }
        }
        scratch.trim();
    }
}
