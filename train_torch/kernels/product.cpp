// Compiled with contraction of products and sums, unlike the forward pass: gradients are no contract.

#include "product.h"

namespace {

constexpr int SUMMED = 256;  // columns of a panel that stay in the first cache

template <class R, int VECTORS>
inline void block(R *to, int to_stride, const R *from, int from_stride, const R *panel, int n_sum, bool add) {
    F<R> sums[PRODUCT_ROWS][VECTORS];
    constexpr int width = Simd<R>::width;
#pragma GCC unroll 4
    for (int r = 0; r < PRODUCT_ROWS; ++r)
#pragma GCC unroll 3
        for (int v = 0; v < VECTORS; ++v) sums[r][v] = add ? load<R>(to + r * to_stride + v * width) : F<R>{};
    for (int k = 0; k < n_sum; ++k, panel += VECTORS * width) {
        F<R> row[VECTORS];
#pragma GCC unroll 3
        for (int v = 0; v < VECTORS; ++v) row[v] = load<R>(panel + v * width);
#pragma GCC unroll 4
        for (int r = 0; r < PRODUCT_ROWS; ++r) {
            F<R> x = all<R>(from[r * from_stride + k]);
#pragma GCC unroll 3
            for (int v = 0; v < VECTORS; ++v) sums[r][v] += x * row[v];
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < PRODUCT_ROWS; ++r)
#pragma GCC unroll 3
        for (int v = 0; v < VECTORS; ++v) store<R>(to + r * to_stride + v * width, sums[r][v]);
}

template <class R>
void product(R *to, int to_stride, const R *from, int from_stride, int n_rows, const R *panels, int n_out, int n_sum,
             bool add) {
    constexpr int width = Simd<R>::width;
    for (int j = 0; j < n_out; j += Packed<R>::panel) {
        int vectors = std::min(PANEL_VECTORS, padded(n_out - j, width) / width);
        const R *panel = panels + size_t(j) * n_sum;
        for (int k = 0; k < n_sum; k += SUMMED) {
            int n = std::min(SUMMED, n_sum - k);
            const R *part = panel + size_t(k) * vectors * width;
            for (int r = 0; r < n_rows; r += PRODUCT_ROWS) {
                R *t = to + size_t(r) * to_stride + j;
                const R *f = from + size_t(r) * from_stride + k;
                bool more = add || k > 0;
                if (vectors == 3) block<R, 3>(t, to_stride, f, from_stride, part, n, more);
                else if (vectors == 2) block<R, 2>(t, to_stride, f, from_stride, part, n, more);
                else block<R, 1>(t, to_stride, f, from_stride, part, n, more);
            }
        }
    }
}

}  // namespace

void multiply_panels(float *to, int to_stride, const float *from, int from_stride, int n_rows, const float *panels, int n_out,
              int n_sum, bool add) {
    product<float>(to, to_stride, from, from_stride, n_rows, panels, n_out, n_sum, add);
}
void multiply_panels(double *to, int to_stride, const double *from, int from_stride, int n_rows, const double *panels,
              int n_out, int n_sum, bool add) {
    product<double>(to, to_stride, from, from_stride, n_rows, panels, n_out, n_sum, add);
}
