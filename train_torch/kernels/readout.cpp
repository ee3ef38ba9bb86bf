// The readouts that integrate over time, forward and backward.

#include <cmath>
#include <cstdint>
#include <vector>

namespace {

enum Mode { LI = 0, SPIKE_COUNT = 1, MEM_MEAN = 2, LEAKY_MEAN = 3 };

// drive (step, trial, class) -> total (trial, class): maximum, count or sum of the integrator; v is
// kept before the subtraction.
template <class R>
void forward(int mode, int n_steps, int n_rows, double decay, double kick, double threshold, const R *drive, R *v_kept,
             R *total, int64_t *best) {
    std::vector<R> v(n_rows, R(0));
    for (int t = 0; t < n_steps; ++t)
        for (int k = 0; k < n_rows; ++k) {
            size_t at = size_t(t) * n_rows + k;
            R x = R(decay) * v[k] + R(kick) * drive[at];
            if (v_kept) v_kept[at] = x;
            if (mode == LI) {
                if (t == 0 || x > total[k]) total[k] = x, best[k] = t;
                v[k] = x;
            } else if (mode == LEAKY_MEAN) {
                total[k] += x;
                v[k] = x;
            } else {
                R fired = x >= R(threshold) ? R(1) : R(0);
                total[k] += mode == SPIKE_COUNT ? fired : x;
                v[k] = x - R(threshold) * fired;
            }
        }
}

// The state is detached before every step that is a multiple of `window` (0: never).
template <class R>
void backward(int mode, int n_steps, int n_rows, double decay, double kick, double threshold, double slope, int window,
              const R *v_kept, const int64_t *best, const R *grad_total, R *grad_drive) {
    std::vector<R> carried(n_rows, R(0));
    for (int t = n_steps - 1; t >= 0; --t)
        for (int k = 0; k < n_rows; ++k) {
            size_t at = size_t(t) * n_rows + k;
            R after = carried[k], g = after;
            if (mode == LI) {
                if (best[k] == t) g += grad_total[k];
            } else if (mode == LEAKY_MEAN) {
                g += grad_total[k];
            } else {
                R flank = R(1) + R(slope) * std::fabs(v_kept[at] - R(threshold));
                R fire = (mode == SPIKE_COUNT ? grad_total[k] : R(0)) - R(threshold) * after;
                g += (mode == MEM_MEAN ? grad_total[k] : R(0)) + fire * (R(slope) / (flank * flank));
            }
            grad_drive[at] = R(kick) * g;
            carried[k] = window && t % window == 0 ? R(0) : R(decay) * g;
        }
}

}  // namespace

#define EXPORT(R, suffix)                                                                                              \
    extern "C" void readout_forward_##suffix(int mode, int n_steps, int n_rows, double decay, double kick,             \
                                             double threshold, const R *drive, R *v_kept, R *total, int64_t *best) {   \
        forward<R>(mode, n_steps, n_rows, decay, kick, threshold, drive, v_kept, total, best);                         \
    }                                                                                                                  \
    extern "C" void readout_backward_##suffix(int mode, int n_steps, int n_rows, double decay, double kick,            \
                                              double threshold, double slope, int window, const R *v_kept,             \
                                              const int64_t *best, const R *grad_total, R *grad_drive) {               \
        backward<R>(mode, n_steps, n_rows, decay, kick, threshold, slope, window, v_kept, best, grad_total,            \
                    grad_drive);                                                                                       \
    }

EXPORT(float, f32)
EXPORT(double, f64)
