// Batch norm of a signal with its channels last, statistics shared over the `order` channels of a field: one reading for
// the statistics and one for the result.

#include <cmath>
#include <vector>

#include "vectors.h"

// Bytes of the rows whose sums are taken at once, in the signal's own precision: they stay in the first caches. And rows
// that a first guess of the mean is taken from.
constexpr Int CACHED = 1 << 16, SAMPLED = 64;

typedef std::vector<double> Numbers;

// A signal [rows, fields * order].
struct Shape {
    Int rows, fields, order, threads;
    Int channels() const { return fields * order; }
    Int block() const { return std::max<Int>(16, CACHED / (channels() * Int(sizeof(T)))); }
};

struct Pair {
    V first, second;
};

struct Sums {
    Numbers first, second;
    explicit Sums(Int n) : first(n, 0.0), second(n, 0.0) {}
};

static inline V load_up_to(const T* p, Int n) { return n == LANES ? load(p) : load_some(p, n); }

// One number a field as one number a channel, with room for a whole vector behind the last.
static std::vector<T> spread(const Shape& s, const Numbers& fields) {
    std::vector<T> channels(s.channels() + LANES);
    for (Int c = 0; c < s.channels(); c++) channels[c] = T(fields[c / s.order]);
    return channels;
}

// Add two terms of a block of rows to the sums of their channels.
template <class Term>
static void add_block(const Shape& s, Int first, Int last, Term term, Sums& to) {
    const Int C = s.channels();
    for (Int c = 0; c < C; c += LANES) {
        const Int n = std::min<Int>(LANES, C - c);
        V a[2] = {}, b[2] = {};
        for (Int r = first; r < last; r++) {
            const Pair terms = term(r * C + c, c, n);
            a[r & 1] += terms.first, b[r & 1] += terms.second;
        }
        a[0] += a[1], b[0] += b[1];
        for (int l = 0; l < n; l++) to.first[c + l] += a[0][l], to.second[c + l] += b[0][l];
    }
}

// The means of two terms over the samples of every field.
template <class Term>
static Sums means(const Shape& s, Term term) {
    Sums fields(s.fields);
    const Int block = s.block();
    const double share = 1.0 / double(s.rows * s.order);
#pragma omp parallel num_threads(s.threads)
    {
        Sums mine(s.channels());
#pragma omp for schedule(static)
        for (Int first = 0; first < s.rows; first += block)
            add_block(s, first, std::min(first + block, s.rows), term, mine);
#pragma omp critical
        for (Int c = 0; c < s.channels(); c++) {
            fields.first[c / s.order] += share * mine.first[c];
            fields.second[c / s.order] += share * mine.second[c];
        }
    }
    return fields;
}

// Write a value for every sample.
template <class Value>
static void fill(const Shape& s, T* y, Value value) {
    const Int C = s.channels();
#pragma omp parallel for num_threads(s.threads) schedule(static)
    for (Int r = 0; r < s.rows; r++) {
        Int c = 0;
        for (; c + LANES <= C; c += LANES) store(y + r * C + c, value(r * C + c, c, LANES));
        if (c < C) store_some(y + r * C + c, value(r * C + c, c, C - c), C - c);
    }
}

// About the mean of every field: what is near it can be taken off before squares are summed.
static Numbers guess(const Shape& s, const T* x) {
    const Int step = std::max<Int>(1, s.rows / SAMPLED), rows = (s.rows + step - 1) / step;
    Numbers found(s.fields, 0.0);
    for (Int r = 0; r < s.rows; r += step)
        for (Int c = 0; c < s.channels(); c++) found[c / s.order] += x[r * s.channels() + c] / double(rows * s.order);
    return found;
}

// y = (x - mean) / sqrt(var + eps) * weight + bias; also mean and variance (over n) of every field.
extern "C" void norm_forward(Int rows, Int fields, Int order, const T* x, const T* weight, const T* bias, double eps, T* y,
                             T* mean, T* var, Int threads) {
    const Shape s{rows, fields, order, threads};
    const std::vector<T> origin = spread(s, guess(s, x));
    const Sums moments = means(s, [&](Int at, Int c, Int n) {
        const V d = n == LANES ? load(x + at) - load(&origin[c]) : load_some(x + at, n) - load_some(&origin[c], n);
        return Pair{d, d * d};
    });
    Numbers scale(fields), shift(fields);
    for (Int f = 0; f < fields; f++) {
        const double off = moments.first[f], spread_of = std::max(0.0, moments.second[f] - off * off);
        mean[f] = T(origin[f * order] + off), var[f] = T(spread_of);
        scale[f] = (weight ? weight[f] : 1.0) / std::sqrt(spread_of + eps);
        shift[f] = (bias ? bias[f] : 0.0) - off * scale[f];
    }
    const std::vector<T> a = spread(s, scale), b = spread(s, shift);
    fill(s, y, [&](Int at, Int c, Int n) { return (load_up_to(x + at, n) - load(&origin[c])) * load(&a[c]) + load(&b[c]); });
}

// The gradients of x, weight and bias; those of weight and bias may be null.
extern "C" void norm_backward(Int rows, Int fields, Int order, const T* x, const T* gradient, const T* weight, double eps,
                              const T* mean, const T* var, T* to_x, T* to_weight, T* to_bias, Int threads) {
    const Shape s{rows, fields, order, threads};
    const std::vector<T> centre = spread(s, Numbers(mean, mean + fields));
    const Sums moments = means(s, [&](Int at, Int c, Int n) {
        const V g = load_up_to(gradient + at, n);
        return Pair{g, g * (load_up_to(x + at, n) - load(&centre[c]))};
    });
    Numbers scale(fields), slope(fields);
    const double count = double(rows * order);
    for (Int f = 0; f < fields; f++) {
        const double inverse = 1.0 / std::sqrt(double(var[f]) + eps);
        scale[f] = (weight ? weight[f] : 1.0) * inverse;
        slope[f] = moments.second[f] * inverse * inverse;
        if (to_weight) to_weight[f] = T(count * moments.second[f] * inverse);
        if (to_bias) to_bias[f] = T(count * moments.first[f]);
    }
    const std::vector<T> a = spread(s, scale), b = spread(s, slope), level = spread(s, moments.first);
    fill(s, to_x, [&](Int at, Int c, Int n) {
        const V d = load_up_to(x + at, n) - load(&centre[c]);
        return (load_up_to(gradient + at, n) - load(&level[c]) - d * load(&b[c])) * load(&a[c]);
    });
}
