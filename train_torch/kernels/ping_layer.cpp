// One E-I layer of conductance-based cells over a whole sequence, forward and backward, and the
// readouts. Called through ctypes by train_torch/compiled.py, which owns every array.
//
// The order of operations of the forward pass is the contract of bridge/network/update_order.py;
// it is compiled without contraction of products and sums. Trials are independent of each other:
// threads share out trials (or columns of a gradient), so that no result depends on their number.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#if defined(__GNUC__) && !defined(__clang__)
#define FUSED __attribute__((optimize("fp-contract=fast")))
#else
#define FUSED
#endif

#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX2__)
#define BYTES 32
#else
#define BYTES 16
#endif

namespace {

template <class R> struct Simd;
template <> struct Simd<float> {
    typedef float F __attribute__((vector_size(BYTES)));
    typedef int32_t I __attribute__((vector_size(BYTES)));
    static constexpr int width = BYTES / 4;
    typedef int8_t B __attribute__((vector_size(BYTES / 4)));
    static constexpr int mantissa = 23, offset = 127, terms = 7;
    static constexpr float magic = 12582912.0f;  // 1.5 * 2**23: adding it rounds to whole numbers
    static constexpr float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f, lowest = -87.0f, highest = 88.0f;
};
template <> struct Simd<double> {
    typedef double F __attribute__((vector_size(BYTES)));
    typedef int64_t I __attribute__((vector_size(BYTES)));
    static constexpr int width = BYTES / 8;
    typedef int8_t B __attribute__((vector_size(BYTES / 8)));
    static constexpr int mantissa = 52, offset = 1023, terms = 13;
    static constexpr double magic = 6755399441055744.0;  // 1.5 * 2**52
    static constexpr double ln2_high = 6.93145751953125e-1, ln2_low = 1.42860682030941723212e-6;
    static constexpr double lowest = -708.0, highest = 709.0;
};

template <class R> using F = typename Simd<R>::F;
template <class R> using I = typename Simd<R>::I;
template <class R> using Bytes = typename Simd<R>::B;

template <class R> inline F<R> all(R x) { return F<R>{} + x; }

template <class R> inline F<R> load(const R *from) {
    F<R> x;
    std::memcpy(&x, from, sizeof x);
    return x;
}
template <class R> inline void store(R *to, F<R> x) { std::memcpy(to, &x, sizeof x); }

// exp(x), cut where the result would leave the normal numbers. A NaN stays one.
template <class R> inline F<R> exp_of(F<R> x) {
    typedef Simd<R> S;
    x = x < all<R>(S::lowest) ? all<R>(S::lowest) : x;
    x = x > all<R>(S::highest) ? all<R>(S::highest) : x;
    F<R> shifted = x * R(1.44269504088896340736) + S::magic;
    F<R> n = shifted - S::magic;
    F<R> r = (x - n * S::ln2_high) - n * S::ln2_low;
    static constexpr double inverse_factorial[] = {
        1.0, 1.0, 1.0 / 2, 1.0 / 6, 1.0 / 24, 1.0 / 120, 1.0 / 720, 1.0 / 5040, 1.0 / 40320,
        1.0 / 362880, 1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800.0};
    F<R> sum = all<R>(R(inverse_factorial[S::terms]));
#pragma GCC unroll 16
    for (int k = S::terms - 1; k >= 0; --k) sum = sum * r + R(inverse_factorial[k]);
    I<R> exponent = (I<R>)shifted - (I<R>)all<R>(S::magic) + S::offset;
    return sum * (F<R>)(exponent << S::mantissa);
}

inline int padded(int n, int width) { return (n + width - 1) / width * width; }

// Storage on cache lines, zeroed.
template <class R> struct Rows {
    std::vector<R> memory;
    R *start;
    explicit Rows(size_t n) : memory(n + 64 / sizeof(R)) {
        auto address = reinterpret_cast<uintptr_t>(memory.data());
        start = reinterpret_cast<R *>((address + 63) / 64 * 64);
    }
    operator R *() { return start; }
};

// Conductances and gradients that have decayed below the normal numbers count as zero while this
// lives: processors are a hundred times slower with such numbers.
struct FlushTiny {
#if defined(__SSE2__)
    unsigned before = _mm_getcsr();
    FlushTiny() { _mm_setcsr(before | 0x8040); }
    ~FlushTiny() { _mm_setcsr(before); }
#endif
};

template <class Work> void share_out(int n, int n_threads, Work work) {
    n_threads = std::max(1, std::min(n, n_threads));
    auto part = [&work](int64_t first, int64_t last) {
        FlushTiny flush;
        work(first, last);
    };
    if (n_threads == 1) return part(0, n);
    std::vector<std::thread> threads;
    for (int k = 0; k < n_threads; ++k)
        threads.emplace_back(part, int64_t(n) * k / n_threads, int64_t(n) * (k + 1) / n_threads);
    for (auto &thread : threads) thread.join();
}

}  // namespace

// Constants of one population, in the order in which compiled.py fills them in.
struct Cell {
    double dt, decay_exc, decay_inh, g_leak, e_leak, e_exc, e_inh, c_m;
    double v_th, v_reset, v_floor, n_ref, slope, dampen;
};

namespace {

constexpr double LOST = 1e6;  // mV

// The state of one population of one trial, padded to whole vectors.
template <class R> struct Population {
    int n;
    Rows<R> v, ge, gi, ref, kick_exc, kick_inh, spikes;
    std::vector<int> fired;
    explicit Population(int n)
        : n(n), v(pad()), ge(pad()), gi(pad()), ref(pad()), kick_exc(pad()), kick_inh(pad()),
          spikes(pad()) {
        fired.reserve(n);
    }
    size_t pad() const { return padded(n, Simd<R>::width); }

    void begin(const R *v_start) {
        for (R *x : {v.start, ge.start, gi.start, ref.start, spikes.start}) std::fill_n(x, pad(), R(0));
        std::copy_n(v_start, n, v.start);
        fired.clear();
    }
};

// What is kept of each step; each may be null. Arrays are (step, trial, cell).
template <class R> struct Kept {
    R *v, *ge, *gi, *spikes, *counts;
    uint8_t *free;  // 0 or 255
};

template <class R> inline void add_rows(R *to, const R *matrix, int n, const std::vector<int> &rows) {
    for (int row : rows) {
        const R *w = matrix + size_t(row) * n;
        for (int j = 0; j < n; ++j) to[j] += w[j];
    }
}

// One step of a population; returns whether every voltage is sane.
template <class R> bool cell_step(const Cell &c, Population<R> &p, Kept<R> keep, size_t at, int b) {
    typedef Simd<R> S;
    const R dt = R(c.dt), decay_exc = R(c.decay_exc), decay_inh = R(c.decay_inh);
    const R g_leak = R(c.g_leak), leak = R(c.g_leak * c.e_leak), e_exc = R(c.e_exc);
    const R e_inh = R(c.e_inh), c_m = R(c.c_m);
    const F<R> v_th = all<R>(R(c.v_th)), v_reset = all<R>(R(c.v_reset)), zero = {}, one = zero + 1;
    const F<R> floor = all<R>(R(c.v_floor)), n_ref = all<R>(R(c.n_ref)), limit = all<R>(R(LOST));
    I<R> insane = {};
    p.fired.clear();
    for (int j = 0; j < p.n; j += S::width) {
        F<R> ge = load<R>(p.ge + j) * decay_exc + load<R>(p.kick_exc + j);
        F<R> gi = load<R>(p.gi + j) * decay_inh + load<R>(p.kick_inh + j);
        F<R> v0 = load<R>(p.v + j);
        F<R> g = g_leak + (ge + gi);
        F<R> v_inf = (leak + (ge * e_exc + gi * e_inh)) / g;
        F<R> v = v0 + (v_inf - v0) * (R(1) - exp_of<R>(-(dt / (c_m / g))));
        insane |= ~((v < limit) & (v > -limit));
        v = v < floor ? floor : v;
        F<R> ref = load<R>(p.ref + j) - R(1);
        ref = ref < zero ? zero : ref;
        I<R> free = ref == zero;
        I<R> fire = (v >= v_th) & free;
        store<R>(p.ge + j, ge);
        store<R>(p.gi + j, gi);
        store<R>(p.v + j, (fire | ~free) ? v_reset : v);
        store<R>(p.ref + j, fire ? n_ref : ref);
        store<R>(p.spikes + j, fire ? one : zero);
        int n = std::min(S::width, p.n - j);
        size_t here = at * p.n + j;
        if (keep.v) std::memcpy(keep.v + here, &v, n * sizeof(R));
        if (keep.ge) std::memcpy(keep.ge + here, &ge, n * sizeof(R));
        if (keep.gi) std::memcpy(keep.gi + here, &gi, n * sizeof(R));
        Bytes<R> flags = __builtin_convertvector(free, Bytes<R>);
        if (keep.free) std::memcpy(keep.free + here, &flags, n);
        flags = __builtin_convertvector(fire, Bytes<R>);
        uint8_t fired[sizeof flags];
        std::memcpy(fired, &flags, sizeof flags);
        uint64_t any[2] = {0, 0};
        std::memcpy(any, &flags, sizeof flags);
        if (any[0] | any[1])
            for (int k = 0; k < n; ++k)
                if (fired[k]) {
                    p.fired.push_back(j + k);
                    if (keep.counts) keep.counts[size_t(b) * p.n + j + k] += R(1);
                }
    }
    if (keep.spikes) std::memcpy(keep.spikes + at * p.n, p.spikes.start, p.n * sizeof(R));
    for (int k = 0; k < S::width; ++k)
        if (insane[k]) return false;
    return true;
}

// Padding lanes see no kick and rest at e_leak = 0 conductance: they never fire.
template <class R>
void layer_forward(int n_steps, int n_trials, int n_exc, int n_inh, const Cell *cells,
                   const R *drive, const int64_t *event_start, const int32_t *event_channel,
                   const R *w_in, const R *external, R bias, const R *w_ee, const R *w_ei,
                   const R *w_ie, const R *w_ii, const R *v_start_exc, const R *v_start_inh,
                   Kept<R> keep_exc, Kept<R> keep_inh, int64_t *lost_step, int n_threads) {
    share_out(n_trials, n_threads, [=](int64_t first, int64_t last) {
        Population<R> exc(n_exc), inh(n_inh);
        for (int64_t b = first; b < last; ++b) {
            exc.begin(v_start_exc + b * n_exc);
            if (n_inh) inh.begin(v_start_inh + b * n_inh);
            lost_step[b] = n_steps;
            for (int t = 0; t < n_steps; ++t) {
                size_t at = size_t(t) * n_trials + b;
                std::fill_n(exc.kick_exc.start, n_exc, R(0));
                if (w_ee) add_rows<R>(exc.kick_exc, w_ee, n_exc, exc.fired);
                if (event_start)
                    for (int64_t k = event_start[b * n_steps + t]; k < event_start[b * n_steps + t + 1]; ++k) {
                        const R *w = w_in + size_t(event_channel[k]) * n_exc;
                        for (int j = 0; j < n_exc; ++j) exc.kick_exc[j] += w[j];
                    }
                if (drive)
                    for (int j = 0; j < n_exc; ++j) exc.kick_exc[j] += drive[at * n_exc + j];
                if (external)
                    for (int j = 0; j < n_exc; ++j) exc.kick_exc[j] += external[at * n_exc + j];
                if (bias != 0)
                    for (int j = 0; j < n_exc; ++j) exc.kick_exc[j] += bias;
                if (w_ie) {
                    std::fill_n(exc.kick_inh.start, n_exc, R(0));
                    add_rows<R>(exc.kick_inh, w_ie, n_exc, inh.fired);
                }
                if (n_inh) {
                    std::fill_n(inh.kick_exc.start, n_inh, R(0));
                    std::fill_n(inh.kick_inh.start, n_inh, R(0));
                    if (w_ei) add_rows<R>(inh.kick_exc, w_ei, n_inh, exc.fired);
                    if (w_ii) add_rows<R>(inh.kick_inh, w_ii, n_inh, inh.fired);
                }
                bool sane = cell_step<R>(cells[0], exc, keep_exc, at, b);
                if (n_inh) sane &= cell_step<R>(cells[1], inh, keep_inh, at, b);
                if (!sane && lost_step[b] == n_steps) lost_step[b] = t;
            }
        }
    });
}

constexpr int TOGETHER = 8;  // trials that walk backward side by side, sharing loaded weights

// to[b] = sum over rows i of from[b][i] * matrix[i], for TOGETHER trials at once.
template <class R> FUSED void multiply(R *to, int to_stride, const R *from, int from_stride, int n_rows,
                                       const R *matrix, int matrix_stride, int n_columns, bool add) {
    for (int j = 0; j < n_columns; j += Simd<R>::width) {
        F<R> sums[TOGETHER];
#pragma GCC unroll 8
        for (int b = 0; b < TOGETHER; ++b) sums[b] = add ? load<R>(to + b * to_stride + j) : F<R>{};
        const R *w = matrix + j;
        for (int i = 0; i < n_rows; ++i, w += matrix_stride) {
            F<R> row = load<R>(w);
#pragma GCC unroll 8
            for (int b = 0; b < TOGETHER; ++b) sums[b] += from[b * from_stride + i] * row;
        }
#pragma GCC unroll 8
        for (int b = 0; b < TOGETHER; ++b) store<R>(to + b * to_stride + j, sums[b]);
    }
}

// matrix (rows, columns) transposed, rows padded to whole vectors.
template <class R> struct Transposed {
    int stride;
    Rows<R> entries;
    Transposed(const R *matrix, int n_rows, int n_columns)
        : stride(padded(n_rows, Simd<R>::width)), entries(matrix ? size_t(stride) * n_columns : 0) {
        if (matrix)
            for (int i = 0; i < n_rows; ++i)
                for (int j = 0; j < n_columns; ++j) entries[size_t(j) * stride + i] = matrix[size_t(i) * n_columns + j];
    }
};

// The state of a population as saved by the forward pass, and its starting voltages.
template <class R> struct Saved {
    const R *v, *ge, *gi, *spikes, *v_start;
    const uint8_t *free;
};

template <class R> struct Adjoint {
    int n, stride;
    Rows<R> v, ge, gi, spikes;  // (TOGETHER, stride)
    explicit Adjoint(int n)
        : n(n), stride(padded(n, Simd<R>::width)), v(size()), ge(size()), gi(size()), spikes(size()) {}
    size_t size() const { return size_t(TOGETHER) * stride; }
    void begin() {
        for (R *x : {v.start, ge.start, gi.start, spikes.start}) std::fill_n(x, size(), R(0));
    }
};

// Step t of one trial backward. a.spikes holds the gradient that the next step sends through the
// recurrent weights; from_spikes and from_counts what arrives from outside; each may be null.
template <class R>
void cell_back(const Cell &c, Adjoint<R> &a, int row, Saved<R> s, const R *from_spikes, const R *from_counts,
               int t, int n_trials, int64_t b) {
    typedef Simd<R> S;
    const R dt = R(c.dt), decay_exc = R(c.decay_exc), decay_inh = R(c.decay_inh);
    const R g_leak = R(c.g_leak), leak = R(c.g_leak * c.e_leak), e_exc = R(c.e_exc);
    const R e_inh = R(c.e_inh), c_m = R(c.c_m), slope = R(c.slope), pass = R(1.0 / c.dampen);
    const R per_g = R(c.dt / c.c_m);
    const F<R> zero = {}, v_reset = all<R>(R(c.v_reset)), floor = all<R>(R(c.v_floor));
    size_t here = (size_t(t) * n_trials + b) * a.n, before = here - size_t(n_trials) * a.n;
    for (int j = 0; j < a.n; j += S::width) {
        int n = std::min(S::width, a.n - j), k0 = row * a.stride + j;
        F<R> v = zero, ge = zero, gi = zero, v0 = v_reset, gz = load<R>(a.spikes + k0), more = zero;
        F<R> spikes = zero, spikes_before = zero;
        I<R> free = {}, free_before = {};
        std::memcpy(&v, s.v + here + j, n * sizeof(R));
        std::memcpy(&ge, s.ge + here + j, n * sizeof(R));
        if (s.gi) std::memcpy(&gi, s.gi + here + j, n * sizeof(R));
        std::memcpy(&spikes, s.spikes + here + j, n * sizeof(R));
        Bytes<R> flags = {};
        std::memcpy(&flags, s.free + here + j, n);
        free = __builtin_convertvector(flags, I<R>);
        if (t == 0) {
            std::memcpy(&v0, s.v_start + b * a.n + j, n * sizeof(R));
        } else {
            std::memcpy(&v0, s.v + before + j, n * sizeof(R));
            std::memcpy(&spikes_before, s.spikes + before + j, n * sizeof(R));
            std::memcpy(&flags, s.free + before + j, n);
            free_before = __builtin_convertvector(flags, I<R>);
            v0 = ((spikes_before != zero) | ~free_before) ? v_reset : v0;
        }
        if (from_spikes) {
            std::memcpy(&more, from_spikes + here + j, n * sizeof(R));
            gz += more;
        }
        if (from_counts) {
            std::memcpy(&more, from_counts + b * a.n + j, n * sizeof(R));
            gz += more;
        }
        F<R> u = v - R(c.v_th);
        u = u < zero ? -u : u;
        F<R> flank = R(1) + slope * u;
        F<R> gv = (free & (spikes == zero)) ? load<R>(a.v + k0) : zero;
        gv += free ? gz * (slope / (flank * flank)) : zero;
        gv = v > floor ? gv : zero;
        F<R> g = g_leak + (ge + gi);
        F<R> v_inf = (leak + (ge * e_exc + gi * e_inh)) / g;
        F<R> stay = exp_of<R>(-(dt / (c_m / g)));
        F<R> rise = R(1) - stay, gd = gv * pass, h = rise / g;
        F<R> q = (v_inf - v0) * per_g * stay;
        store<R>(a.v + k0, gv - gd * rise);
        store<R>(a.ge + k0, load<R>(a.ge + k0) * decay_exc + gd * (q + (e_exc - v_inf) * h));
        store<R>(a.gi + k0, load<R>(a.gi + k0) * decay_inh + gd * (q + (e_inh - v_inf) * h));
    }
}

template <class R> void copy_rows(R *to, const R *from, int stride, int n, int t, int n_trials, int64_t b0, int live) {
    for (int r = 0; r < live; ++r)
        std::memcpy(to + (size_t(t) * n_trials + b0 + r) * n, from + size_t(r) * stride, n * sizeof(R));
}

// grad_drive (step, trial, E cell) is the adjoint of ge of E; the others, where wanted, those of gi
// of E and of ge and gi of I: everything that weight gradients are made of.
template <class R>
void layer_backward(int n_steps, int n_trials, int n_exc, int n_inh, const Cell *cells, Saved<R> exc,
                    Saved<R> inh, const R *w_ee, const R *w_ei, const R *w_ie, const R *w_ii,
                    const R *from_spikes, const R *from_counts, R *grad_ge_exc, R *grad_gi_exc,
                    R *grad_ge_inh, R *grad_gi_inh, int n_threads) {
    const Transposed<R> ee(w_ee, n_exc, n_exc), ei(w_ei, n_exc, n_inh), ie(w_ie, n_inh, n_exc), ii(w_ii, n_inh, n_inh);
    auto entries = [](const Transposed<R> &m) { return const_cast<Transposed<R> &>(m).entries.start; };
    int n_blocks = (n_trials + TOGETHER - 1) / TOGETHER;
    share_out(n_blocks, n_threads, [&, n_trials, n_steps](int64_t first, int64_t last) {
        Adjoint<R> e(n_exc), i(n_inh);
        for (int64_t block = first; block < last; ++block) {
            int64_t b0 = block * TOGETHER;
            int live = int(std::min<int64_t>(TOGETHER, n_trials - b0));
            e.begin();
            i.begin();
            for (int t = n_steps - 1; t >= 0; --t) {
                for (int r = 0; r < live; ++r) {
                    cell_back<R>(cells[0], e, r, exc, from_spikes, from_counts, t, n_trials, b0 + r);
                    if (n_inh) cell_back<R>(cells[1], i, r, inh, nullptr, nullptr, t, n_trials, b0 + r);
                }
                copy_rows<R>(grad_ge_exc, e.ge, e.stride, n_exc, t, n_trials, b0, live);
                if (grad_gi_exc) copy_rows<R>(grad_gi_exc, e.gi, e.stride, n_exc, t, n_trials, b0, live);
                if (grad_ge_inh) copy_rows<R>(grad_ge_inh, i.ge, i.stride, n_inh, t, n_trials, b0, live);
                if (grad_gi_inh) copy_rows<R>(grad_gi_inh, i.gi, i.stride, n_inh, t, n_trials, b0, live);
                if (t == 0) break;
                bool add = false;
                if (w_ei) multiply<R>(e.spikes, e.stride, i.ge, i.stride, n_inh, entries(ei), ei.stride, n_exc, add), add = true;
                if (w_ee) multiply<R>(e.spikes, e.stride, e.ge, e.stride, n_exc, entries(ee), ee.stride, n_exc, add);
                add = false;
                if (w_ie) multiply<R>(i.spikes, i.stride, e.gi, e.stride, n_exc, entries(ie), ie.stride, n_inh, add), add = true;
                if (w_ii) multiply<R>(i.spikes, i.stride, i.gi, i.stride, n_inh, entries(ii), ii.stride, n_inh, add);
            }
        }
    });
}

// grad_w[channel] += grad[t, b] for every event; threads take columns.
template <class R>
void event_gradient(int n_steps, int n_trials, int n_post, const int64_t *event_start, const int32_t *event_channel,
                    const R *grad, R *grad_w, int n_threads) {
    share_out(n_post, n_threads, [=](int64_t first, int64_t last) {
        for (int64_t b = 0; b < n_trials; ++b)
            for (int64_t t = 0; t < n_steps; ++t)
                for (int64_t k = event_start[b * n_steps + t]; k < event_start[b * n_steps + t + 1]; ++k) {
                    const R *from = grad + (size_t(t) * n_trials + b) * n_post;
                    R *to = grad_w + size_t(event_channel[k]) * n_post;
                    for (int64_t j = first; j < last; ++j) to[j] += from[j];
                }
    });
}

// grad_w[i] += grad[t + 1, b] for every spike (t, b, i): a recurrent kick arrives one step later.
template <class R>
void spike_gradient(int n_steps, int n_trials, int n_pre, int n_post, const R *spikes, const R *grad, R *grad_w,
                    int n_threads) {
    share_out(n_post, n_threads, [=](int64_t first, int64_t last) {
        for (size_t row = 0; row + n_trials < size_t(n_steps) * n_trials; ++row)
            for (int i = 0; i < n_pre; ++i)
                if (spikes[row * n_pre + i] != 0) {
                    const R *from = grad + (row + n_trials) * n_post;
                    R *to = grad_w + size_t(i) * n_post;
                    for (int64_t j = first; j < last; ++j) to[j] += from[j];
                }
    });
}

enum Mode { LI = 0, SPIKE_COUNT = 1, MEM_MEAN = 2 };

// drive (step, trial, class) -> total (trial, class): maximum, count or sum of the integrator; v is
// kept before the subtraction.
template <class R>
void readout_forward(int mode, int n_steps, int n_rows, double decay, double kick, double threshold, const R *drive,
                     R *v_kept, R *total, int64_t *best) {
    std::vector<R> v(n_rows, R(0));
    for (int t = 0; t < n_steps; ++t)
        for (int k = 0; k < n_rows; ++k) {
            size_t at = size_t(t) * n_rows + k;
            R x = R(decay) * v[k] + R(kick) * drive[at];
            if (v_kept) v_kept[at] = x;
            if (mode == LI) {
                if (t == 0 || x > total[k]) total[k] = x, best[k] = t;
                v[k] = x;
            } else {
                R fired = x >= R(threshold) ? R(1) : R(0);
                total[k] += mode == SPIKE_COUNT ? fired : x;
                v[k] = x - R(threshold) * fired;
            }
        }
}

template <class R>
void readout_backward(int mode, int n_steps, int n_rows, double decay, double kick, double threshold, double slope,
                      const R *v_kept, const int64_t *best, const R *grad_total, R *grad_drive) {
    std::vector<R> carried(n_rows, R(0));
    for (int t = n_steps - 1; t >= 0; --t)
        for (int k = 0; k < n_rows; ++k) {
            size_t at = size_t(t) * n_rows + k;
            R after = carried[k], g = after;
            if (mode == LI) {
                if (best[k] == t) g += grad_total[k];
            } else {
                R flank = R(1) + R(slope) * std::fabs(v_kept[at] - R(threshold));
                R fire = (mode == SPIKE_COUNT ? grad_total[k] : R(0)) - R(threshold) * after;
                g += (mode == MEM_MEAN ? grad_total[k] : R(0)) + fire * (R(slope) / (flank * flank));
            }
            grad_drive[at] = R(kick) * g;
            carried[k] = R(decay) * g;
        }
}

}  // namespace

#define EXPORT(R, suffix)                                                                                              \
    extern "C" void layer_forward_##suffix(                                                                            \
        int n_steps, int n_trials, int n_exc, int n_inh, const Cell *cells, const R *drive,                            \
        const int64_t *event_start, const int32_t *event_channel, const R *w_in, const R *external, double bias,       \
        const R *w_ee, const R *w_ei, const R *w_ie, const R *w_ii, const R *v_start_exc, const R *v_start_inh,        \
        const Kept<R> *keep, int64_t *lost_step, int n_threads) {                                                      \
        layer_forward<R>(n_steps, n_trials, n_exc, n_inh, cells, drive, event_start, event_channel, w_in, external,    \
                         R(bias), w_ee, w_ei, w_ie, w_ii, v_start_exc, v_start_inh, keep[0], keep[1], lost_step,       \
                         n_threads);                                                                                   \
    }                                                                                                                  \
    extern "C" void layer_backward_##suffix(                                                                           \
        int n_steps, int n_trials, int n_exc, int n_inh, const Cell *cells, const Saved<R> *saved, const R *w_ee,      \
        const R *w_ei, const R *w_ie, const R *w_ii, const R *from_spikes, const R *from_counts, R *grad_ge_exc,       \
        R *grad_gi_exc, R *grad_ge_inh, R *grad_gi_inh, int n_threads) {                                               \
        layer_backward<R>(n_steps, n_trials, n_exc, n_inh, cells, saved[0], saved[1], w_ee, w_ei, w_ie, w_ii,          \
                          from_spikes, from_counts, grad_ge_exc, grad_gi_exc, grad_ge_inh, grad_gi_inh, n_threads);    \
    }                                                                                                                  \
    extern "C" void event_gradient_##suffix(int n_steps, int n_trials, int n_post, const int64_t *event_start,         \
                                            const int32_t *event_channel, const R *grad, R *grad_w, int n_threads) {   \
        event_gradient<R>(n_steps, n_trials, n_post, event_start, event_channel, grad, grad_w, n_threads);             \
    }                                                                                                                  \
    extern "C" void spike_gradient_##suffix(int n_steps, int n_trials, int n_pre, int n_post, const R *spikes,         \
                                            const R *grad, R *grad_w, int n_threads) {                                 \
        spike_gradient<R>(n_steps, n_trials, n_pre, n_post, spikes, grad, grad_w, n_threads);                          \
    }                                                                                                                  \
    extern "C" void readout_forward_##suffix(int mode, int n_steps, int n_rows, double decay, double kick,             \
                                             double threshold, const R *drive, R *v_kept, R *total, int64_t *best) {   \
        readout_forward<R>(mode, n_steps, n_rows, decay, kick, threshold, drive, v_kept, total, best);                 \
    }                                                                                                                  \
    extern "C" void readout_backward_##suffix(int mode, int n_steps, int n_rows, double decay, double kick,            \
                                              double threshold, double slope, const R *v_kept, const int64_t *best,    \
                                              const R *grad_total, R *grad_drive) {                                    \
        readout_backward<R>(mode, n_steps, n_rows, decay, kick, threshold, slope, v_kept, best, grad_total,            \
                            grad_drive);                                                                               \
    }

EXPORT(float, f32)
EXPORT(double, f64)
