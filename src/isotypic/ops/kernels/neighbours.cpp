// The k nearest rows of every row among those of its own cloud, by sums of squared differences.

#include <limits>
#include <vector>

#include "vectors.h"

static inline T distance(const T* a, const T* b, Int dims) {
    Int d = 0;
    T sum = 0;
    if (dims >= LANES) {
        V total = {};
        for (; d + LANES <= dims; d += LANES) {
            const V difference = load(a + d) - load(b + d);
            total += difference * difference;
        }
        for (int l = 0; l < LANES; l++) sum += total[l];
    }
    for (; d < dims; d++) sum += (a[d] - b[d]) * (a[d] - b[d]);
    return sum;
}

// Put a row among the nearest so far, behind those as near: the lower row stays first.
static inline void insert(T* near, Int* rows, Int count, T d, Int row) {
    Int place = count - 1;
    for (; place > 0 && near[place - 1] > d; place--) near[place] = near[place - 1], rows[place] = rows[place - 1];
    near[place] = d, rows[place] = row;
}

extern "C" void nearest(Int rows, Int dims, Int k, const T* x, const Int* low, const Int* high, Int* index, Int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (Int i = 0; i < rows; i++) {
        std::vector<T> near(k, std::numeric_limits<T>::infinity());
        Int* const mine = index + i * k;
        std::fill(mine, mine + k, i);
        if (k == 1) continue;
        for (Int j = low[i]; j < high[i]; j++) {
            if (j == i) continue;
            const T d = distance(x + i * dims, x + j * dims, dims);
            if (d < near[k - 2]) insert(near.data(), mine + 1, k - 1, d, j);
        }
    }
}
