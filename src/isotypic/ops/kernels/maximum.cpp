// The maximum over the `order` channels of every field of a signal with its channels last, and its gradient.

#include <algorithm>

#include "vectors.h"

// A maximum that keeps NaN, as torch's.
static inline T larger(T a, T b) { return b > a || b != b ? b : a; }

template <Int ORDER>
static void forward(Int fields, Int order, const T* x, T* y, Int threads) {
    const Int n = ORDER ? ORDER : order;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (Int f = 0; f < fields; f++) {
        T most = x[f * n];
        for (Int g = 1; g < n; g++) most = larger(most, x[f * n + g]);
        y[f] = most;
    }
}

// Channels that tie share the gradient, so that no order of the channels enters.
template <Int ORDER>
static void backward(Int fields, Int order, const T* x, const T* y, const T* gradient, T* to_x, Int threads) {
    const Int n = ORDER ? ORDER : order;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (Int f = 0; f < fields; f++) {
        T ties = 0;
        for (Int g = 0; g < n; g++) ties += T(x[f * n + g] == y[f]);
        const T share = gradient[f] / ties;
        for (Int g = 0; g < n; g++) to_x[f * n + g] = x[f * n + g] == y[f] ? share : T(0);
    }
}

extern "C" void maximum_forward(Int fields, Int order, const T* x, T* y, Int threads) {
    (order == 4 ? forward<4> : order == 8 ? forward<8> : forward<0>)(fields, order, x, y, threads);
}

extern "C" void maximum_backward(Int fields, Int order, const T* x, const T* y, const T* gradient, T* to_x, Int threads) {
    (order == 4 ? backward<4> : order == 8 ? backward<8> : backward<0>)(fields, order, x, y, gradient, to_x, threads);
}
