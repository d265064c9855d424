// The isotypic convolution on a CPU. The tables of one group and kernel come from a generated header, "group.h".
//
// A signal becomes *planes*: the channel transform of every sample, [coordinate, field, position], zero where the
// convolution pads, one plane a phase of the stride, so that the samples under one tap of consecutive outputs lie next to
// each other. Outputs are counted along the pitch of a plane; what falls between rows is computed and thrown away. A block
// of P outputs is a thread's work: its patches are transformed into a buffer that stays in the cache, multiplied by the
// blocks of the weight at once, and transformed back.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <numeric>

#if defined(__linux__)
#include <sys/mman.h>
#endif
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
#if defined(__AVX512F__) && defined(ISOTYPIC_DOUBLE)
static inline V load_some(const T* p, Int count) { return (V)_mm512_maskz_loadu_pd((1 << count) - 1, p); }
static inline void store_some(T* p, V v, Int count) { _mm512_mask_storeu_pd(p, (1 << count) - 1, (__m512d)v); }
#elif defined(__AVX512F__)
static inline V load_some(const T* p, Int count) { return (V)_mm512_maskz_loadu_ps((1 << count) - 1, p); }
static inline void store_some(T* p, V v, Int count) { _mm512_mask_storeu_ps(p, (1 << count) - 1, (__m512)v); }
#else
static inline V load_some(const T* p, Int count) {
    V v = {};
    for (int l = 0; l < count; l++) v[l] = p[l];
    return v;
}
static inline void store_some(T* p, V v, Int count) {
    for (int l = 0; l < count; l++) p[l] = v[l];
}
#endif

// A value that is used several times: GCC would rather load it again each time.
static inline V held(V v) {
#if defined(__AVX512F__)
    asm("" : "+v"(v));
#elif defined(__AVX__)
    asm("" : "+x"(v));
#endif
    return v;
}

#include "group.h"

// Outputs of a block, and samples that a gradient sums at once; bytes of a block's patches, and of all planes of a group of
// images whose gradients are summed: by the sizes of caches.
constexpr Int BLOCK = 64, UNIT = 752, CACHE = 1 << 18, GROUP = 1 << 24;

// What the caller describes. Sizes are (z, y, x); a plane has one z.
struct Problem {
    Int batch, in_fields, out_fields;
    Int in[3], out[3], stride[3], padding[3], dilation[3], kernel[3];
    Int in_channels_last, out_channels_last, threads;
};

static Int round_up(Int n, Int m) { return (n + m - 1) / m * m; }

// Rows whose pitch is an odd number of vectors do not fall on each other in the cache.
static Int odd_vectors(Int n) { return (round_up(n, LANES) / LANES | 1) * LANES; }

// Uninitialised memory of a thread, aligned for vectors. What is small is kept for the next call: the system would have to
// hand out zeroed pages again. What is large lies on large pages where there are any: planes are written across.
class Buffer {
  public:
    T* ask(Int n) {
        if (n > size) {
            release();
            size = n;
            const Int bytes = round_up(sizeof(T) * (n + LANES), align());
            memory = static_cast<T*>(::operator new(bytes, std::align_val_t(align())));
#ifdef MADV_HUGEPAGE
            if (align() == PAGE) madvise(memory, bytes, MADV_HUGEPAGE);
#endif
        }
        return memory;
    }
    void trim() {
        if (size * Int(sizeof(T)) > KEPT) release();
    }
    ~Buffer() { release(); }

  private:
    static constexpr Int KEPT = 1 << 20, PAGE = 2 << 20;
    T* memory = nullptr;
    Int size = 0;
    Int align() const { return size * Int(sizeof(T)) < PAGE ? 64 : PAGE; }
    void release() {
        if (memory) ::operator delete(memory, std::align_val_t(align()));
        memory = nullptr, size = 0;
    }
};

struct Scratch {
    Buffer planes, rows, patches, products;
    void trim() { planes.trim(), rows.trim(), patches.trim(), products.trim(); }
};
static thread_local Scratch scratch;

static T* zeroed(T* memory, Int n) { return static_cast<T*>(std::memset(memory, 0, sizeof(T) * n)); }

// ---- transposing between channels last and planes

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
constexpr bool TILES = true;
#else
static inline void transpose(V*) {}
constexpr bool TILES = false;
#endif

// A square of LANES rows, the last of them zero where there are fewer, with rows and columns exchanged.
static inline void load_transposed(const T* from, Int pitch, Int rows, V* tile) {
    if (rows == LANES) {
#pragma GCC unroll 16
        for (int i = 0; i < LANES; i++) tile[i] = load(from + i * pitch);
    } else {
        for (int i = 0; i < LANES; i++) tile[i] = i < rows ? load(from + i * pitch) : V{};
    }
    transpose(tile);
}

// The same the other way: as many of its rows as there are.
static inline void store_transposed(T* to, Int pitch, Int rows, V* tile) {
    transpose(tile);
    if (rows == LANES) {
#pragma GCC unroll 16
        for (int i = 0; i < LANES; i++) store(to + i * pitch, tile[i]);
    } else {
        for (int i = 0; i < rows; i++) store(to + i * pitch, tile[i]);
    }
}

// to[i, r] = from[r, i] for `rows` rows of from and `cols` rows of to; whole vectors are read and written.
static inline void transpose_tile(const T* from, Int from_pitch, Int rows, T* to, Int to_pitch, Int cols) {
    V tile[LANES];
    load_transposed(from, from_pitch, rows, tile);
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++)
        if (i < cols) store(to + i * to_pitch, tile[i]);
}

// to[c, r] = from[r, c], where only the channels fill whole vectors: a last tile overlaps the one before.
static void to_planes(const T* from, Int channels, Int pixels, T* to, Int pitch) {
    if (!TILES || channels < LANES) {
        for (Int r = 0; r < pixels; r++)
            for (Int c = 0; c < channels; c++) to[c * pitch + r] = from[r * channels + c];
        return;
    }
    for (Int i = 0; i < channels; i += LANES) {
        Int c = std::min(i, channels - LANES);
        for (Int r = 0; r < pixels; r += LANES)
            transpose_tile(from + r * channels + c, channels, pixels - r, to + c * pitch + r, pitch, LANES);
    }
}

// ---- the layout of a signal as planes

struct Planes {
    Int fields, size[3], padding[3], stride[3], length[3], row, slice, phase, plane;

    // Without a stride the zeros behind a row are those before the next, unless outputs need more room than that.
    explicit Planes(const Problem& p) : fields(p.in_fields) {
        Int phases = 1, behind[3];
        for (int a = 0; a < 3; a++) {
            size[a] = p.in[a], padding[a] = p.padding[a], stride[a] = p.stride[a];
            behind[a] = stride[a] == 1 && p.out[a] <= size[a] + padding[a] ? padding[a] : 0;
            length[a] = (size[a] + 2 * padding[a] + stride[a] - 1) / stride[a] - behind[a];
            phases *= stride[a];
        }
        row = length[2], slice = row * length[1], phase = slice * length[0];
        plane = odd_vectors(phases * phase + behind[0] * slice + behind[1] * row + behind[2]);
    }

    // Planes of a signal on the pitch of others, with room for whole blocks behind every slice.
    Planes(Int fields, const Int* size_, Int row_, Int slice_) : fields(fields), row(row_), slice(slice_) {
        for (int a = 0; a < 3; a++) size[a] = length[a] = size_[a], padding[a] = 0, stride[a] = 1;
        phase = slice * size[0], plane = odd_vectors(phase);
    }

    Int total() const { return ORDER * fields * plane; }

    // Where sample (z, y, x), counted from the first padded one, lies in a plane: its phase and its place in it.
    Int offset(Int z, Int y, Int x) const {
        Int which = ((z % stride[0]) * stride[1] + y % stride[1]) * stride[2] + x % stride[2];
        return which * phase + z / stride[0] * slice + y / stride[1] * row + x / stride[2];
    }
};

// One image of a signal; rows of x are read as [channel, x], from a buffer where the channels come last.
struct Image {
    const T* data;
    Int channels, size[3];
    bool channels_last;

    const T* row(Int z, Int y, T* buffer, Int* pitch) const {
        Int width = size[2], first = (z * size[1] + y) * width;
        if (!channels_last) {
            *pitch = size[0] * size[1] * width;
            return data + first;
        }
        *pitch = round_up(width, LANES);
        to_planes(data + first * channels, channels, width, buffer, *pitch);
        return buffer;
    }
};

// Up to LANES samples of a row, next to each other or, with a stride, each in its phase.
static inline void place(const Planes& planes, T* row, Int at, V values, Int count) {
    Int step = planes.stride[2];
    if (step > 1) {
        for (int l = 0; l < count; l++) row[(at + l) % step * planes.phase + (at + l) / step] = values[l];
    } else if (count == LANES) {
        store(row + at, values);
    } else {
        store_some(row + at, values, count);
    }
}

// Fields that fill whole tiles of channels, and their channels.
constexpr int TILED = std::lcm(ORDER, LANES);

// The channel transform of one row whose channels come last, some fields at a time, never leaving the registers for long.
static void transform_tiled_row(const T* row, const Planes& planes, T* to) {
    const Int channels = planes.fields * ORDER, width = planes.size[2];
    for (Int x = 0; x < width; x += LANES) {
        const Int count = std::min<Int>(LANES, width - x);
        for (Int c = 0; c < channels; c += TILED) {
            V in[TILED], out[ORDER];
            for (int i = 0; i < TILED; i += LANES) load_transposed(row + x * channels + c + i, channels, count, in + i);
            for (int f = 0; f < TILED / ORDER; f++) {
                channel_transform(in + f * ORDER, out);
                T* plane = to + (c / ORDER + f) * planes.plane;
                for (int h = 0; h < ORDER; h++, plane += planes.fields * planes.plane)
                    place(planes, plane, x + planes.padding[2], out[h], count);
            }
        }
    }
}

// The channel transform of one row (z, y) of an image into its planes.
static void transform_row(const Image& image, const Planes& planes, Int z, Int y, T* buffer, T* to) {
    Int pitch, width = planes.size[2];
    to += planes.offset(z + planes.padding[0], y + planes.padding[1], 0);
    if (TILES && image.channels_last && image.channels % TILED == 0)
        return transform_tiled_row(image.data + (z * image.size[1] + y) * width * image.channels, planes, to);
    const T* row = image.row(z, y, buffer, &pitch);
    for (Int n = 0; n < planes.fields; n++)
        for (Int x = 0; x < width; x += LANES) {
            const T* field = row + n * ORDER * pitch + x;
            Int count = std::min<Int>(LANES, width - x);
            V in[ORDER], out[ORDER];
            for (int h = 0; h < ORDER; h++)
                in[h] = count == LANES ? load(field + h * pitch) : load_some(field + h * pitch, count);
            channel_transform(in, out);
            for (int h = 0; h < ORDER; h++)
                place(planes, to + (h * planes.fields + n) * planes.plane, x + planes.padding[2], out[h], count);
        }
}

// ---- products

// One block of the weight, rows (copy, field) by columns (field, copy), where it lies in [out, in, FLAT].
struct Matrix {
    const T* data;
    Int row_pitch, field_pitch;
};

// c[R, C vectors] (+)= a[R, (fields, depth)] b[(fields, depth), C vectors]
template <int R, int C>
static void tile(Matrix a, Int fields, Int depth, const T* b, T* c, Int pitch, bool add) {
    V sum[R][C];
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
                T factor = left[r * a.row_pitch + k];
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

typedef void (*Tile)(Matrix, Int, Int, const T*, T*, Int, bool);

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
static void product(Matrix a, Int fields, Int depth, const T* b, T* c, Int rows, Int cols, bool add) {
    for (Int j = 0; j < cols; j += TILE_COLS * LANES) {
        Int wide = std::min<Int>(TILE_COLS, (cols - j) / LANES);
        for (Int r = 0, left = (rows + TILE_ROWS - 1) / TILE_ROWS; left > 0; left--) {
            Int high = (rows - r + left - 1) / left;
            Matrix part{a.data + r * a.row_pitch, a.row_pitch, a.field_pitch};
            tile_of(high, wide)(part, fields, depth, b + j, c + r * cols + j, cols, add);
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
    const T* const* left;  // where each stretch starts on the left
    Int left_pitch, left_component;
    const T* right;  // stretches follow each other, so do components
    Int parts, P, components;
};

// to[r][j] += sum of left row r times right row j, for R rows from `first` on and C columns
template <int R, int C>
static void inner(const Stretches& s, Int first, Int column, T* const* to) {
    constexpr int SUMS = (R * C + LANES - 1) / LANES * LANES;
    V sum[SUMS] = {};
    const Int right_pitch = s.components * s.parts * s.P;
    const T* right = s.right + column * right_pitch;
    for (Int i = 0; i < s.components; i++)
        for (Int part = 0; part < s.parts; part++, right += s.P) {
            const T* left = s.left[part] + first * s.left_pitch + i * s.left_component;
            for (Int k = 0; k < s.P; k += LANES) {
                V rows[R];
#pragma GCC unroll 8
                for (int r = 0; r < R; r++) rows[r] = held(load(left + r * s.left_pitch + k));
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

// to[row * row_pitch + field * field_pitch + copy] += left row times right row (field, copy)
static void inner_products(const Stretches& s, Int rows, Int fields, Int copies, T* to, Int row_pitch, Int field_pitch) {
    T gathered[4][4], *const at[4] = {gathered[0], gathered[1], gathered[2], gathered[3]};
    const Int columns = fields * copies;
    for (Int r = 0, high; r < rows; r += high) {
        high = rows - r >= 4 ? 4 : 1;
        for (Int j = 0, wide; j < columns; j += wide) {
            wide = columns - j >= 4 ? 4 : 1;
            std::memset(gathered, 0, sizeof gathered);
            auto run = high == 4 ? (wide == 4 ? inner<4, 4> : inner<4, 1>) : (wide == 4 ? inner<1, 4> : inner<1, 1>);
            run(s, r, j, at);
            for (int c = 0; c < wide; c++) {
                T* column = to + (j + c) / copies * field_pitch + (j + c) % copies;
                for (int i = 0; i < high; i++) column[(r + i) * row_pitch] += gathered[i][c];
            }
        }
    }
}

// ---- the convolution

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

// Whether the patches of a convolution are its samples, and lie so that they are read as they are.
static bool reads_samples(const Problem& p) {
    bool samples = TAPS == 1;
    for (int a = 0; a < 3; a++) samples = samples && p.stride[a] == 1 && p.padding[a] == 0;
    return samples && (!p.in_channels_last || (TILES && p.in_fields * ORDER % TILED == 0));
}

// What `patches` gives for samples, from the image itself.
static void sample_patches(const Image& image, Int start, Int P, Int first, Int fields, T* const* z, Int pitch) {
    const Int pixels = image.size[0] * image.size[1] * image.size[2], together = image.channels_last ? TILED / ORDER : 1;
    for (Int x = 0; x < P; x += LANES) {
        const Int count = std::max<Int>(0, std::min<Int>(LANES, pixels - start - x));
        for (Int n = 0; n < fields; n += together) {
            V in[TILED], out[ORDER];
            const Int channel = (first + n) * ORDER;
            if (image.channels_last)
                for (int i = 0; i < TILED; i += LANES)
                    load_transposed(image.data + (start + x) * image.channels + channel + i, image.channels, count, in + i);
            else
                for (int h = 0; h < ORDER; h++) in[h] = load_some(image.data + (channel + h) * pixels + start + x, count);
            for (Int f = 0; f < together; f++) {
                channel_transform(in + f * ORDER, out);
                for (int h = 0; h < ORDER; h++) {
                    const int b = ROW_BLOCK[h], d = DIMENSION[b], row = ROW_COPY[h] * d + ROW_PART[h] + ROW_COLUMN[h];
                    store(z[b] + ((n + f) * COPIES_IN[b] * d + row) * pitch + x, out[h]);
                }
            }
        }
    }
}

// LANES outputs of one field, back from [block, row, field, P], the bias added.
static inline void inverse(const T* const* y, Int fields, Int m, Int P, Int o, T bias, V* made) {
    V in[ORDER];
    for (int h = 0; h < ORDER; h++)
        in[h] = load(y[ROW_BLOCK[h]] + ((ROW_COPY[h] * ROW_SPLIT[h] + ROW_PART[h]) * fields + m) * ROW_PITCH[h] * P +
                     ROW_COLUMN[h] * P + o);
    channel_inverse(in, made);
    for (int h = 0; h < ORDER; h++) made[h] += bias;
}

// `count` outputs from o on, to their place in an image of so many pixels.
static void write_run(const Problem& p, const T* const* y, Int P, const T* bias, Int o, Int count, T* image, Int place) {
    const Int fields = p.out_fields, channels = fields * ORDER, pixels = p.out[0] * p.out[1] * p.out[2];
    const bool tiled = TILES && p.out_channels_last && channels % TILED == 0;
    const Int together = tiled ? TILED / ORDER : 1;
    for (Int x = 0; x < count; x += LANES) {
        const Int n = std::min<Int>(LANES, count - x);
        for (Int m = 0; m < fields; m += together) {
            V made[TILED];
            for (Int f = 0; f < together; f++)
                inverse(y, fields, m + f, P, o + x, bias ? bias[m + f] : T(0), made + f * ORDER);
            if (tiled)
                for (int i = 0; i < TILED; i += LANES)
                    store_transposed(image + (place + x) * channels + m * ORDER + i, channels, n, made + i);
            else if (p.out_channels_last)
                for (Int l = 0; l < n; l++)
                    for (int h = 0; h < ORDER; h++) image[(place + x + l) * channels + m * ORDER + h] = made[h][l];
            else
                for (int h = 0; h < ORDER; h++) store_some(image + (m * ORDER + h) * pixels + place + x, made[h], n);
        }
    }
}

// Write the outputs of a block that are no gap between rows.
static void write_block(const Problem& p, const Geometry& g, const T* const* y, const T* bias, Int block, T* image) {
    const Int pitch = g.in.row, start = g.start(block), end = std::min(start + g.P, g.outputs), z = block / g.blocks_of_slice;
    for (Int o = start; o < end; o = (o / pitch + 1) * pitch) {
        const Int row = o / pitch, x = o % pitch;
        if (x < p.out[2])
            write_run(p, y, g.P, bias, o - start, std::min(end - o, p.out[2] - x), image, (z * p.out[1] + row) * p.out[2] + x);
    }
}

// A thread's buffers for blocks of P outputs and `chunk` input fields at a time.
struct Work {
    Int P, chunk;
    T *z_of[BLOCKS], *y_of[BLOCKS];

    Work(Int P, Int chunk, Int out_fields) : P(P), chunk(chunk) {
        T *a = scratch.patches.ask(TAPS * ORDER * chunk * P), *b = scratch.products.ask(ORDER * out_fields * P);
        for (int i = 0; i < BLOCKS; i++) {
            z_of[i] = a, y_of[i] = b;
            a += COPIES_IN[i] * DIMENSION[i] * chunk * P, b += COPIES_OUT[i] * DIMENSION[i] * out_fields * P;
        }
    }
};

// One image of a convolution while its blocks are computed: from its planes, or from the image where that will do.
struct Job {
    const Problem& p;
    const Geometry& g;
    const T *weight, *bias;
    Image image;
    const T* planes;
    T* to;

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
        for (int b = 0; b < BLOCKS; b++)
            for (int copy = 0; copy < ROWS_OUT[b]; copy++) {
                const Matrix part{weight + n * FLAT + FLAT_START[b] + copy * ROWS_IN[b], p.in_fields * FLAT, FLAT};
                const Int cols = COLUMNS[b] * work.P;
                T* made = work.y_of[b] + copy * p.out_fields * cols;
                product(part, fields, ROWS_IN[b], work.z_of[b], made, p.out_fields, cols, n > 0);
            }
    }
};

static Int chunk_for(Int fields, Int P, Int cache) {
    Int chunk = cache / (TAPS * ORDER * P * Int(sizeof(T)));
    return std::max<Int>(1, std::min(fields, chunk));
}

static Image image_of(const T* data, Int b, Int fields, const Int* size, Int channels_last) {
    Int channels = fields * ORDER, pixels = size[0] * size[1] * size[2];
    return Image{data + b * channels * pixels, channels, {size[0], size[1], size[2]}, channels_last != 0};
}

static void transform_rows(const Image& image, const Planes& planes, Int first, Int last, T* buffer, T* to) {
    for (Int r = first; r < last; r++) transform_row(image, planes, r / image.size[1], r % image.size[1], buffer, to);
}

extern "C" void forward(const Problem* problem, const T* x, const T* weight, const T* bias, T* y) {
    const Problem& p = *problem;
    const Geometry g(p, BLOCK);
    const bool direct = reads_samples(p);
    const Int rows = direct ? 0 : p.in[0] * p.in[1], size = direct ? 0 : g.planes();
    const Int chunk = round_up(chunk_for(p.in_fields, g.P, CACHE), TILED / ORDER);
    const Int image_size = ORDER * p.out_fields * p.out[0] * p.out[1] * p.out[2];
    const bool whole = p.batch >= p.threads && (p.batch % p.threads == 0 || p.batch >= 4 * p.threads);
    T* shared = whole || direct ? nullptr : zeroed(scratch.planes.ask(size), size);
#pragma omp parallel num_threads(p.threads)
    {
        T* planes = whole && !direct ? zeroed(scratch.planes.ask(size), size) : shared;
        T* buffer = scratch.rows.ask(p.in_fields * ORDER * round_up(p.in[2], LANES));
        Work work(g.P, chunk, p.out_fields);
        const auto job = [&](Int b) {
            return Job{p, g, weight, bias, image_of(x, b, p.in_fields, p.in, p.in_channels_last), planes, y + b * image_size};
        };
        if (whole) {
#pragma omp for schedule(dynamic, 1)
            for (Int b = 0; b < p.batch; b++) {
                const Job one = job(b);
                transform_rows(one.image, g.in, 0, rows, buffer, planes);
                for (Int i = 0; i < g.blocks; i++) one.run(i, work);
            }
        } else {
            for (Int b = 0; b < p.batch; b++) {
                const Job one = job(b);
#pragma omp for schedule(static)
                for (Int r = 0; r < rows; r++) transform_rows(one.image, g.in, r, r + 1, buffer, planes);
#pragma omp for schedule(dynamic, 1)
                for (Int i = 0; i < g.blocks; i++) one.run(i, work);
            }
        }
        scratch.trim();
    }
}

// ---- the gradient of the weight

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
        for (int row = 0; row < ORDER; row++)
            if (ROW_COLUMN[row] == 0) add_row(row, left, blocks, first, fields, z, to);
    }

    void add_row(int row, const T** left, Int blocks, Int first, Int fields, T* const* z, T* to) const {
        const T* moved[UNIT / LANES];
        for (Int i = 0; i < blocks; i++) moved[i] = left[i] + row * p.out_fields * out.plane;
        int b = ROW_BLOCK[row], copy = ROW_COPY[row] * ROW_SPLIT[row] + ROW_PART[row];
        Stretches s{moved, out.plane, p.out_fields * out.plane, z[b], blocks, g.P, COLUMNS[b]};
        T* block = to + first * FLAT + FLAT_START[b] + copy * ROWS_IN[b];
        inner_products(s, p.out_fields, fields, ROWS_IN[b], block, p.in_fields * FLAT, FLAT);
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
    const Int chunk = round_up((p.in_fields + shares - 1) / shares, direct ? TILED / ORDER : 1);
    T* planes = direct ? nullptr : scratch.planes.ask(images * in_size);
    T* gradients = scratch.products.ask(images * out_size);
    std::memset(to, 0, sizeof(T) * p.out_fields * p.in_fields * FLAT);
    if (to_bias) std::memset(to_bias, 0, sizeof(T) * p.out_fields);
#pragma omp parallel num_threads(p.threads)
    {
        T* buffer = scratch.rows.ask(std::max(p.in_fields * round_up(p.in[2], LANES), p.out_fields * round_up(p.out[2], LANES)) *
                                     ORDER);
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
                transform_rows(image_of(group, r / in_rows, p.in_fields, p.in, p.in_channels_last), g.in, r % in_rows,
                               r % in_rows + 1, buffer, planes + r / in_rows * in_size);
#pragma omp for schedule(static)
            for (Int r = 0; r < count * out_rows; r++)
                transform_rows(image_of(gradient, first + r / out_rows, p.out_fields, p.out, p.out_channels_last), out,
                               r % out_rows, r % out_rows + 1, buffer, gradients + r / out_rows * out_size);
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
