// Products of a few rows with one matrix that stays the same over a sequence.

#pragma once

#include "simd.h"

// to[b][j] (+)= sum over k of from[b][k] * matrix[j][k], for a matrix in panels as Packed makes them.
// Rows of `to` and `from` beyond n_rows, up to a multiple of PRODUCT_ROWS, must exist.
constexpr int PRODUCT_ROWS = 4, PANEL_VECTORS = 3;
void multiply_panels(float *to, int to_stride, const float *from, int from_stride, int n_rows, const float *panels, int n_out,
              int n_sum, bool add);
void multiply_panels(double *to, int to_stride, const double *from, int from_stride, int n_rows, const double *panels,
              int n_out, int n_sum, bool add);

namespace {

// The transpose of a matrix (n_rows, n_columns), cut into panels of columns that fit the registers.
template <class R> struct Packed {
    static constexpr int panel = PANEL_VECTORS * Simd<R>::width;
    int n_out, n_sum;  // of the result, and summed over
    Rows<R> entries;

    Packed(const R *matrix, int n_rows, int n_columns)
        : n_out(n_rows), n_sum(n_columns),
          entries(matrix ? size_t(padded(n_rows, Simd<R>::width)) * n_columns : 0) {
        if (!matrix) return;
        for (int j = 0; j < n_out; j += panel) {
            int width = std::min(panel, padded(n_out - j, Simd<R>::width));
            R *to = entries.start + size_t(j) * n_sum;
            for (int c = 0; c < std::min(width, n_out - j); ++c)
                for (int k = 0; k < n_sum; ++k) to[size_t(k) * width + c] = matrix[size_t(j + c) * n_sum + k];
        }
    }
};

template <class R>
inline void multiply(R *to, int to_stride, const R *from, int from_stride, int n_rows, const Packed<R> &by, bool add) {
    multiply_panels(to, to_stride, from, from_stride, n_rows, by.entries, by.n_out, by.n_sum, add);
}

}  // namespace
