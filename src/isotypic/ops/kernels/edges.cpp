// Edges e_ij = relu(d_i - c_j) from points to their neighbours: what attention wants of them, and the gradients.
//
// Rows are [rows, F]; index is [rows, k]. Neighbours are of one cloud, so that threads which begin at the beginning of a
// cloud (low[i] == i) write to rows that no other writes to.

#include <omp.h>

#include <vector>

#include "vectors.h"

typedef decltype(V{} > V{}) Mask;

static inline V some(const T* p, Int count) { return count >= LANES ? load(p) : load_some(p, count); }
static inline void put(T* p, V v, Int count) { count >= LANES ? store(p, v) : store_some(p, v, count); }
static inline V relu(V v) { return v < V{} ? V{} : v; }  // NaN stays
static inline V all(T value) { return V{} + value; }

static Int begin(const Int* low, Int rows, Int part, Int parts) {
    Int row = rows * part / parts;
    while (part > 0 && row < rows && low[row] != row) row++;
    return row;
}

template <class Work>
static void by_clouds(const Int* low, Int rows, Int threads, Work work) {
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (Int part = 0; part < threads; part++)
        work(part, begin(low, rows, part, threads), begin(low, rows, part + 1, threads));
}

extern "C" void edge_moments(Int rows, Int k, Int F, const T* a, const Int* index, const Int* found, const Int* low,
                             T* mean, T* var, Int threads) {
    std::vector<double> sums(threads * F), squares(threads * F), edges(threads);
    by_clouds(low, rows, threads, [&](Int part, Int first, Int last) {
        std::vector<T> s(F + LANES), q(F + LANES);
        Int inside = 0;
        const auto flush = [&] {
            for (Int f = 0; f < F; f++) {
                sums[part * F + f] += s[f], squares[part * F + f] += q[f];
                s[f] = q[f] = 0;
            }
        };
        for (Int i = first; i < last; i++) {
            for (Int f = 0; f < F; f += LANES) {
                const Int n = F - f;
                const V mine = some(a + i * F + f, n);
                V sum = {}, square = {};
                for (Int j = 0; j < found[i]; j++) {
                    const V u = mine - some(a + index[i * k + j] * F + f, n);
                    sum += u, square += u * u;
                }
                store(&s[f], load(&s[f]) + sum), store(&q[f], load(&q[f]) + square);
            }
            edges[part] += double(found[i]);
            if (++inside == 64) flush(), inside = 0;  // short sums in T, the long ones in double
        }
        flush();
    });
    double count = 0;
    for (Int part = 0; part < threads; part++) count += edges[part];
    for (Int f = 0; f < F; f++) {
        double sum = 0, square = 0;
        for (Int part = 0; part < threads; part++) sum += sums[part * F + f], square += squares[part * F + f];
        const double m = sum / count;
        mean[f] = T(m), var[f] = T(std::max(0.0, square / count - m * m));
    }
}

// u_ij = a_i - a_j has the gradient (to_mean + 2 (u - mean) to_var) / edges.
extern "C" void edge_moments_backward(Int rows, Int k, Int F, const T* a, const Int* index, const Int* found,
                                      const Int* low, const T* mean, const T* to_mean, const T* to_var, T* to_a,
                                      Int threads) {
    Int count = 0;
    for (Int i = 0; i < rows; i++) count += found[i];
    std::vector<T> offset(F + LANES), slope(F + LANES);
    for (Int f = 0; f < F; f++) {
        slope[f] = T(2.0 * double(to_var[f]) / double(count));
        offset[f] = T(double(to_mean[f]) / double(count)) - slope[f] * mean[f];
    }
    by_clouds(low, rows, threads, [&](Int, Int first, Int last) {
        for (Int i = first; i < last; i++)
            for (Int f = 0; f < F; f += LANES) {
                const Int n = F - f;
                const V mine = some(a + i * F + f, n), o = load(&offset[f]), s = load(&slope[f]);
                V sum = {};
                for (Int j = 0; j < found[i]; j++) {
                    const Int other = index[i * k + j] * F + f;
                    const V g = o + s * (mine - some(a + other, n));
                    sum += g;
                    put(to_a + other, some(to_a + other, n) - g, n);
                }
                put(to_a + i * F + f, some(to_a + i * F + f, n) + sum, n);
            }
    });
}

extern "C" void edge_scores(Int rows, Int k, Int F, const T* d, const T* c, const Int* index, const T* weight, T* scores,
                            T* largest, Int threads) {
    std::vector<T> w(F + LANES);
    std::copy(weight, weight + F, w.begin());
#pragma omp parallel for num_threads(threads) schedule(static)
    for (Int i = 0; i < rows; i++) {
        std::vector<V> sums(k, V{});
        for (Int f = 0; f < F; f += LANES) {
            const Int n = F - f;
            const V mine = some(d + i * F + f, n), v = load(&w[f]);
            V most = {};
            for (Int j = 0; j < k; j++) {
                const V e = relu(mine - some(c + index[i * k + j] * F + f, n));
                sums[j] += e * v;
                most = e > most ? e : most;
            }
            put(largest + i * F + f, most, n);
        }
        for (Int j = 0; j < k; j++) {
            T sum = 0;
            for (int l = 0; l < LANES; l++) sum += sums[j][l];
            scores[i * k + j] = sum;
        }
    }
}

// The gradient of a maximum goes to the first neighbour that has it.
extern "C" void edge_scores_backward(Int rows, Int k, Int F, const T* d, const T* c, const Int* index, const Int* low,
                                     const T* weight, const T* to_scores, const T* to_largest, const T* largest, T* to_d,
                                     T* to_c, T* to_weight, Int threads) {
    std::vector<T> w(F + LANES);
    std::copy(weight, weight + F, w.begin());
    std::vector<double> weights(threads * F);
    by_clouds(low, rows, threads, [&](Int part, Int first, Int last) {
        std::vector<T> mine_w(F + LANES);
        for (Int i = first; i < last; i++) {
            for (Int f = 0; f < F; f += LANES) {
                const Int n = F - f;
                const V mine = some(d + i * F + f, n), v = load(&w[f]);
                const V most = some(largest + i * F + f, n), to_most = some(to_largest + i * F + f, n);
                V sum = {}, to_w = {};
                Mask open = most > V{};
                for (Int j = 0; j < k; j++) {
                    const Int other = index[i * k + j] * F + f;
                    const V e = mine - some(c + other, n), to_e = all(to_scores[i * k + j]);
                    const Mask won = open & (e == most);
                    open &= ~won;
                    const V g = e > V{} ? to_e * v + (won ? to_most : V{}) : V{};
                    to_w += to_e * relu(e);
                    sum += g;
                    put(to_c + other, some(to_c + other, n) - g, n);
                }
                put(to_d + i * F + f, sum, n);
                store(&mine_w[f], load(&mine_w[f]) + to_w);
            }
            if ((i - first) % 64 == 63 || i == last - 1)
                for (Int f = 0; f < F; f++) weights[part * F + f] += mine_w[f], mine_w[f] = 0;
        }
    });
    for (Int part = 0; part < threads; part++)
        for (Int f = 0; f < F; f++) to_weight[f] = T(double(to_weight[f]) + weights[part * F + f]);
}

extern "C" void edge_sums(Int rows, Int k, Int F, const T* d, const T* c, const Int* index, const T* shares, T* sums,
                          Int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (Int i = 0; i < rows; i++)
        for (Int f = 0; f < F; f += LANES) {
            const Int n = F - f;
            const V mine = some(d + i * F + f, n);
            V sum = {};
            for (Int j = 0; j < k; j++)
                sum += relu(mine - some(c + index[i * k + j] * F + f, n)) * shares[i * k + j];
            put(sums + i * F + f, sum, n);
        }
}

extern "C" void edge_sums_backward(Int rows, Int k, Int F, const T* d, const T* c, const Int* index, const Int* low,
                                   const T* shares, const T* gradient, T* to_d, T* to_c, T* to_shares, Int threads) {
    by_clouds(low, rows, threads, [&](Int, Int first, Int last) {
        std::vector<V> dots(k);
        for (Int i = first; i < last; i++) {
            std::fill(dots.begin(), dots.end(), V{});
            for (Int f = 0; f < F; f += LANES) {
                const Int n = F - f;
                const V mine = some(d + i * F + f, n), g = some(gradient + i * F + f, n);
                V sum = {};
                for (Int j = 0; j < k; j++) {
                    const Int other = index[i * k + j] * F + f;
                    const V e = mine - some(c + other, n);
                    const V to_e = e > V{} ? g * shares[i * k + j] : V{};
                    dots[j] += g * relu(e);
                    sum += to_e;
                    put(to_c + other, some(to_c + other, n) - to_e, n);
                }
                put(to_d + i * F + f, sum, n);
            }
            for (Int j = 0; j < k; j++) {
                T sum = 0;
                for (int l = 0; l < LANES; l++) sum += dots[j][l];
                to_shares[i * k + j] = sum;
            }
        }
    });
}
