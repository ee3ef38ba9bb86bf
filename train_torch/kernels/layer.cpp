// One E-I layer over a whole sequence, forward and backward. Called through ctypes by
// train_torch/kernels/native.py, which owns every array that is passed.
//
// Trials are independent of each other: threads share out trials forward, and backward fixed groups
// of trials, each with gradients of its own, so that no result depends on the number of threads.

#include "cells.h"
#include "product.h"

// Arrays are (trial, cell), (step, trial, cell) or (pre, post), without padding; each may be null.
struct Given {
    int64_t n_steps, n_trials, n_in, n_exc, n_inh, n_out, n_threads;
    int64_t window;    // steps after which the state is detached; 0: never
    int64_t spacing;   // steps between the states that are kept; 0: every step is
    const double *cells;  // of E, then of I
    const int64_t *event_start;  // (trial * n_steps + step)
    const int32_t *event_channel;
    const void *w_in, *drive, *external;
    double bias;
    const void *w_ee, *w_ei, *w_ie, *w_ii, *w_out, *v_start_exc, *v_start_inh;
};
struct Made {
    void *spikes_exc, *spikes_inh, *counts_exc, *counts_inh, *out;
    uint8_t *trajectory, *states;
    int64_t *lost_step;
};
struct Gradients {
    const void *from_spikes, *from_counts, *from_out;
    void *w_in, *drive, *w_ee, *w_ei, *w_ie, *w_ii, *w_out;
};

namespace {

constexpr int TOGETHER = 8;    // trials that walk backward side by side, sharing loaded weights
constexpr int MOST_GROUPS = 16;  // whose gradients are summed at the end

template <class M> constexpr int n_constants() { return sizeof(M) / sizeof(double); }
template <class M> M cells_of(const Given &g, int population) {
    M cells;
    std::memcpy(&cells, g.cells + population * n_constants<M>(), sizeof cells);
    return cells;
}
template <class R> const R *as(const void *x) { return static_cast<const R *>(x); }
template <class R> R *as(void *x) { return static_cast<R *>(x); }

// Where things lie in the memory of one step of one trial: E, then I; voltages, conductances, flags.
template <class M, class R, class S> struct Layout {
    size_t exc, inh, fields_exc, fields_inh, record;
    explicit Layout(const Given &g)
        : exc(padded(int(g.n_exc), Simd<R>::width)), inh(padded(int(g.n_inh), Simd<R>::width)),
          fields_exc(M::has_conductances ? 2 + (g.w_ie != nullptr) : 1),
          fields_inh(M::has_conductances ? 2 + (g.w_ii != nullptr) : 1),
          record(exc * (fields_exc * sizeof(S) + 1) + inh * (fields_inh * sizeof(S) + 1)) {}

    static Step<S> parts(uint8_t *at, size_t stride, size_t n_fields) {
        S *field = reinterpret_cast<S *>(at);
        return {field, n_fields > 1 ? field + stride : nullptr, n_fields > 2 ? field + 2 * stride : nullptr,
                at + n_fields * stride * sizeof(S)};
    }
    Step<S> of_exc(uint8_t *record) const { return parts(record, exc, fields_exc); }
    Step<S> of_inh(uint8_t *record) const {
        return parts(record + exc * (fields_exc * sizeof(S) + 1), inh, fields_inh);
    }
};

// The state between two steps, complete: what a trial can go on from.
template <class R> struct State {
    static size_t bytes(size_t stride) { return stride * (4 * sizeof(R) + 1); }
    static void save(uint8_t *to, const Population<R> &p) {
        for (const R *x : {(const R *)p.v, (const R *)p.ge, (const R *)p.gi, (const R *)p.ref}) {
            std::memcpy(to, x, p.stride * sizeof(R));
            to += p.stride * sizeof(R);
        }
        std::fill_n(to, p.stride, 0);
        for (int i : p.fired) to[i] = FIRED;
    }
    static void restore(const uint8_t *from, Population<R> &p) {
        for (R *x : {p.v.start, p.ge.start, p.gi.start, p.ref.start}) {
            std::memcpy(x, from, p.stride * sizeof(R));
            from += p.stride * sizeof(R);
        }
        p.fired.clear();
        for (int i = 0; i < p.n; ++i)
            if (from[i]) p.fired.push_back(i);
    }
    static const uint8_t *flags(const uint8_t *from, size_t stride) { return from + stride * 4 * sizeof(R); }
};

template <class R> inline void add_row(R *to, const R *from, int n) {
    for (int j = 0; j < n; ++j) to[j] += from[j];
}
template <class R> inline void add_rows(R *to, const R *matrix, int n, const std::vector<int> &rows) {
    for (int row : rows) add_row(to, matrix + size_t(row) * n, n);
}

template <class R> void begin(Population<R> &p, const void *v_start, int64_t trial) {
    for (R *x : {p.v.start, p.ge.start, p.gi.start, p.ref.start}) std::fill_n(x, p.stride, R(0));
    if (v_start) std::copy_n(as<R>(v_start) + trial * p.n, p.n, p.v.start);
    p.fired.clear();
}

template <class R> void count(const Population<R> &p, void *spikes, void *counts, size_t at, int64_t trial) {
    if (spikes) {
        R *row = as<R>(spikes) + at * p.n;
        std::fill_n(row, p.n, R(0));
        for (int i : p.fired) row[i] = R(1);
    }
    for (int i : p.fired) as<R>(counts)[trial * p.n + i] += R(1);
}

// Steps first to last of a trial. `records` (of those steps) may be null; so may `made`.
template <class M, class R, class S>
void run_steps(const Given &g, const M &exc_cells, const M &inh_cells, Population<R> &exc, Population<R> &inh,
               int64_t trial, int64_t first, int64_t last, const Layout<M, R, S> &layout, uint8_t *records,
               const Made *made) {
    const int n_exc = int(g.n_exc), n_inh = int(g.n_inh);
    const R *w_in = as<R>(g.w_in), *w_out = as<R>(g.w_out);
    const R *w_ee = as<R>(g.w_ee), *w_ei = as<R>(g.w_ei), *w_ie = as<R>(g.w_ie), *w_ii = as<R>(g.w_ii);
    for (int64_t t = first; t < last; ++t) {
        size_t at = size_t(t) * g.n_trials + trial;
        std::fill_n(exc.kick_exc.start, n_exc, R(0));
        if (w_ee) add_rows<R>(exc.kick_exc, w_ee, n_exc, exc.fired);
        if (g.event_start)
            for (int64_t k = g.event_start[trial * g.n_steps + t]; k < g.event_start[trial * g.n_steps + t + 1]; ++k)
                add_row<R>(exc.kick_exc, w_in + size_t(g.event_channel[k]) * n_exc, n_exc);
        if (g.drive) add_row<R>(exc.kick_exc, as<R>(g.drive) + at * n_exc, n_exc);
        if (g.external) add_row<R>(exc.kick_exc, as<R>(g.external) + at * n_exc, n_exc);
        if (g.bias != 0)
            for (int j = 0; j < n_exc; ++j) exc.kick_exc[j] += R(g.bias);
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
        Step<S> of_exc, of_inh, *kept_exc = nullptr, *kept_inh = nullptr;
        if (records) {
            uint8_t *record = records + size_t(t - first) * layout.record;
            of_exc = layout.of_exc(record), of_inh = layout.of_inh(record);
            kept_exc = &of_exc, kept_inh = &of_inh;
        }
        bool sane = exc_cells.template step<R, S>(exc, kept_exc);
        if (n_inh) sane &= inh_cells.template step<R, S>(inh, kept_inh);
        if (!made) continue;
        if (!sane && made->lost_step[trial] == g.n_steps) made->lost_step[trial] = t;
        count<R>(exc, made->spikes_exc, made->counts_exc, at, trial);
        if (n_inh) count<R>(inh, made->spikes_inh, made->counts_inh, at, trial);
        if (w_out) {
            R *out = as<R>(made->out) + at * g.n_out;
            std::fill_n(out, g.n_out, R(0));
            add_rows<R>(out, w_out, int(g.n_out), exc.fired);
        }
    }
}

template <class M, class R, class S> void forward(const Given &g, const Made &made) {
    const Layout<M, R, S> layout(g);
    const M exc_cells = cells_of<M>(g, 0), inh_cells = cells_of<M>(g, 1);
    const size_t state_bytes = State<R>::bytes(layout.exc) + State<R>::bytes(layout.inh);
    const int64_t n_states = g.spacing ? (g.n_steps + g.spacing - 1) / g.spacing : 0;
    const size_t trial_bytes = layout.record * g.n_steps;
    if (made.trajectory) want_large_pages(made.trajectory, trial_bytes * g.n_trials);
    share_out(int(g.n_trials), int(g.n_threads), [&](int64_t from, int64_t to) {
        Population<R> exc{int(g.n_exc)}, inh{int(g.n_inh)};
        for (int64_t b = from; b < to; ++b) {
            begin<R>(exc, g.v_start_exc, b);
            if (g.n_inh) begin<R>(inh, g.v_start_inh, b);
            made.lost_step[b] = g.n_steps;
            if (!made.states) {
                uint8_t *records = made.trajectory ? made.trajectory + b * trial_bytes : nullptr;
                run_steps<M, R, S>(g, exc_cells, inh_cells, exc, inh, b, 0, g.n_steps, layout, records, &made);
                continue;
            }
            for (int64_t k = 0; k < n_states; ++k) {
                uint8_t *state = made.states + (b * n_states + k) * state_bytes;
                State<R>::save(state, exc);
                if (g.n_inh) State<R>::save(state + State<R>::bytes(layout.exc), inh);
                int64_t end = std::min(g.n_steps, (k + 1) * g.spacing);
                run_steps<M, R, S>(g, exc_cells, inh_cells, exc, inh, b, k * g.spacing, end, layout, nullptr, &made);
            }
        }
    });
}

// What the steps of a block of trials run backward on.
template <class R> struct Weights {
    Packed<R> ee, ei, ie, ii, out;
    explicit Weights(const Given &g)
        : ee(as<R>(g.w_ee), int(g.n_exc), int(g.n_exc)), ei(as<R>(g.w_ei), int(g.n_exc), int(g.n_inh)),
          ie(as<R>(g.w_ie), int(g.n_inh), int(g.n_exc)), ii(as<R>(g.w_ii), int(g.n_inh), int(g.n_inh)),
          out(as<R>(g.w_out), int(g.n_exc), int(g.n_out)) {}
};

// The weight gradients of one group of trials.
template <class R> struct Sums {
    R *w_in, *w_ee, *w_ei, *w_ie, *w_ii, *w_out;
};

inline void fired_in(std::vector<int> &found, const uint8_t *flags, int n) {
    found.clear();
    for (int i = 0; i < n; i += 8) {
        uint64_t word = 0;
        std::memcpy(&word, flags + i, std::min(8, n - i));
        if (word & 0x0202020202020202u)
            for (int k = i; k < std::min(n, i + 8); ++k)
                if (flags[k] & FIRED) found.push_back(k);
    }
}

template <class M, class R, class S> class Block {
    const Given &g;
    const Gradients &grads;
    const Layout<M, R, S> layout;
    const Weights<R> &weights;
    const M exc_cells, inh_cells;
    const int n_exc, n_inh, n_out;
    const size_t state_bytes;
    Adjoint<R> e, i;
    Rows<R> start_exc, start_inh, from_counts, silence, from_out;
    std::vector<uint8_t> again;  // records of a segment that is run once more
    Population<R> exc, inh;
    std::vector<int> fired_exc, fired_inh;

  public:
    Block(const Given &g, const Gradients &grads, const Weights<R> &weights)
        : g(g), grads(grads), layout(g), weights(weights), exc_cells(cells_of<M>(g, 0)), inh_cells(cells_of<M>(g, 1)),
          n_exc(int(g.n_exc)), n_inh(int(g.n_inh)), n_out(int(g.n_out)),
          state_bytes(State<R>::bytes(layout.exc) + State<R>::bytes(layout.inh)), e(n_exc, TOGETHER), i(n_inh, TOGETHER),
          start_exc(e.size()), start_inh(i.size()), from_counts(e.size()), silence(std::max(e.stride, i.stride)),
          from_out(size_t(TOGETHER) * n_out), again(layout.record * TOGETHER * g.spacing), exc(n_exc), inh(n_inh) {}

    void run(int64_t first, int live, const Made &made, const Sums<R> &sums) {
        e.begin();
        i.begin();
        for (int r = 0; r < live; ++r)
            if (grads.from_counts)
                std::copy_n(as<R>(grads.from_counts) + (first + r) * n_exc, n_exc, from_counts + r * e.stride);
        const int64_t spacing = g.spacing ? g.spacing : g.n_steps, n_parts = (g.n_steps + spacing - 1) / spacing;
        for (int64_t part = n_parts - 1; part >= 0; --part) {
            int64_t begin_at = part * spacing, end = std::min(g.n_steps, begin_at + spacing);
            const uint8_t *states = made.states ? made.states + (first * n_parts + part) * state_bytes : nullptr;
            const size_t next = n_parts * state_bytes;
            uint8_t *records = made.trajectory + first * layout.record * g.n_steps;
            size_t trial_bytes = layout.record * g.n_steps;
            if (states) records = again.data(), trial_bytes = layout.record * spacing;
            for (int r = 0; r < live; ++r) {
                if (states) {
                    State<R>::restore(states + r * next, exc);
                    if (n_inh) State<R>::restore(states + r * next + State<R>::bytes(layout.exc), inh);
                } else {
                    begin<R>(exc, g.v_start_exc, first + r);
                    if (n_inh) begin<R>(inh, g.v_start_inh, first + r);
                }
                std::copy_n(exc.v.start, e.stride, start_exc + r * e.stride);
                std::copy_n(inh.v.start, i.stride, start_inh + r * i.stride);
                if (states)
                    run_steps<M, R, S>(g, exc_cells, inh_cells, exc, inh, first + r, begin_at, end, layout,
                                       records + r * trial_bytes, nullptr);
            }
            for (int64_t t = end - 1; t >= begin_at; --t)
                step(t, begin_at, first, live, records, trial_bytes, states, next, sums);
        }
    }

  private:
    void step(int64_t t, int64_t begin_at, int64_t first, int live, uint8_t *records, size_t trial_bytes,
              const uint8_t *states, size_t next, const Sums<R> &sums) {
        if (grads.from_out) {
            std::copy_n(as<R>(grads.from_out) + (t * g.n_trials + first) * n_out, live * n_out, from_out.start);
            multiply<R>(e.spikes, e.stride, from_out, n_out, live, weights.out, true);
        }
        const bool detached = g.window && t % g.window == 0;
        for (int r = 0; r < live; ++r) {
            const int64_t b = first + r;
            uint8_t *record = records + r * trial_bytes + (t - begin_at) * layout.record;
            const bool kept = t > begin_at;
            if (t > begin_at + 1) fetch_ahead(record - 2 * layout.record, layout.record);
            if (grads.from_spikes) add_row<R>(e.spikes + r * e.stride, as<R>(grads.from_spikes) + (t * g.n_trials + b) * n_exc, n_exc);
            Step<S> now = layout.of_exc(record), before = layout.of_exc(record - (kept ? layout.record : 0));
            if (sums.w_out) {
                fired_in(fired_exc, now.flags, n_exc);
                for (int k : fired_exc) add_row<R>(sums.w_out + size_t(k) * n_out, from_out + r * n_out, n_out);
            }
            exc_cells.template back<R, S>(e, r, now, kept ? &before : nullptr, start_exc + r * e.stride, from_counts + r * e.stride);
            Step<S> before_inh = layout.of_inh(record - (kept ? layout.record : 0));
            if (n_inh)
                inh_cells.template back<R, S>(i, r, layout.of_inh(record), kept ? &before_inh : nullptr,
                                              start_inh + r * i.stride, silence);
            const R *ge = e.ge + r * e.stride, *gi = e.gi + r * e.stride;
            const R *ge_inh = i.ge + r * i.stride, *gi_inh = i.gi + r * i.stride;
            if (sums.w_in)
                for (int64_t k = g.event_start[b * g.n_steps + t]; k < g.event_start[b * g.n_steps + t + 1]; ++k)
                    add_row<R>(sums.w_in + size_t(g.event_channel[k]) * n_exc, ge, n_exc);
            if (grads.drive) std::copy_n(ge, n_exc, as<R>(grads.drive) + (t * g.n_trials + b) * n_exc);
            if (t == 0) continue;
            // A kick of this step comes from a spike of the step before.
            const uint8_t *state = states + r * next;
            if (sums.w_ee || sums.w_ei) {
                fired_in(fired_exc, kept ? before.flags : State<R>::flags(state, layout.exc), n_exc);
                for (int k : fired_exc) {
                    if (sums.w_ee) add_row<R>(sums.w_ee + size_t(k) * n_exc, ge, n_exc);
                    if (sums.w_ei) add_row<R>(sums.w_ei + size_t(k) * n_inh, ge_inh, n_inh);
                }
            }
            if (sums.w_ie || sums.w_ii) {
                const uint8_t *of_state = state + State<R>::bytes(layout.exc);
                fired_in(fired_inh, kept ? before_inh.flags : State<R>::flags(of_state, layout.inh), n_inh);
                for (int k : fired_inh) {
                    if (sums.w_ie) add_row<R>(sums.w_ie + size_t(k) * n_exc, gi, n_exc);
                    if (sums.w_ii) add_row<R>(sums.w_ii + size_t(k) * n_inh, gi_inh, n_inh);
                }
            }
        }
        if (detached)
            for (Adjoint<R> *a : {&e, &i}) std::fill_n(a->v.start, a->size(), R(0));
        bool add = false, add_inh = false;
        if (!detached) {
            if (g.w_ei) multiply<R>(e.spikes, e.stride, i.ge, i.stride, live, weights.ei, add), add = true;
            if (g.w_ee) multiply<R>(e.spikes, e.stride, e.ge, e.stride, live, weights.ee, add), add = true;
            if (g.w_ie) multiply<R>(i.spikes, i.stride, e.gi, e.stride, live, weights.ie, add_inh), add_inh = true;
            if (g.w_ii) multiply<R>(i.spikes, i.stride, i.gi, i.stride, live, weights.ii, add_inh), add_inh = true;
        }
        if (!add) std::fill_n(e.spikes.start, e.size(), R(0));
        if (!add_inh) std::fill_n(i.spikes.start, i.size(), R(0));
    }
};

template <class M, class R, class S> void backward(const Given &g, const Made &made, const Gradients &grads) {
    const Weights<R> weights(g);
    const int64_t n_blocks = (g.n_trials + TOGETHER - 1) / TOGETHER;
    const int n_groups = int(std::min<int64_t>(n_blocks, MOST_GROUPS));
    void *const targets[] = {grads.w_in, grads.w_ee, grads.w_ei, grads.w_ie, grads.w_ii, grads.w_out};
    const size_t sizes[] = {size_t(g.n_in * g.n_exc), size_t(g.n_exc * g.n_exc), size_t(g.n_exc * g.n_inh),
                            size_t(g.n_inh * g.n_exc), size_t(g.n_inh * g.n_inh), size_t(g.n_exc * g.n_out)};
    size_t total = 0;
    for (int k = 0; k < 6; ++k) total += targets[k] ? sizes[k] : 0;
    std::vector<R> others(total * (n_groups - 1));
    share_out(n_groups, int(g.n_threads), [&](int64_t from, int64_t to) {
        Block<M, R, S> block(g, grads, weights);
        for (int64_t group = from; group < to; ++group) {
            R *sums[6], *own = others.data() + (group - 1) * total;
            for (int k = 0; k < 6; ++k) {
                sums[k] = !targets[k] ? nullptr : group ? own : as<R>(targets[k]);
                if (targets[k] && group) own += sizes[k];
            }
            for (int64_t k = group; k < n_blocks; k += n_groups)
                block.run(k * TOGETHER, int(std::min<int64_t>(TOGETHER, g.n_trials - k * TOGETHER)), made,
                          {sums[0], sums[1], sums[2], sums[3], sums[4], sums[5]});
        }
    });
    size_t at = 0;
    for (int k = 0; k < 6; ++k) {
        if (!targets[k]) continue;
        for (int group = 1; group < n_groups; ++group)
            add_row<R>(as<R>(targets[k]), others.data() + (group - 1) * total + at, int(sizes[k]));
        at += sizes[k];
    }
}

}  // namespace

#define EXPORT(M, R, S, name)                                                                                          \
    extern "C" void forward_##name(const Given *g, const Made *made) { forward<M, R, S>(*g, *made); }                  \
    extern "C" void backward_##name(const Given *g, const Made *made, const Gradients *grads) {                        \
        backward<M, R, S>(*g, *made, *grads);                                                                          \
    }                                                                                                                  \
    extern "C" int64_t record_bytes_##name(const Given *g) { return Layout<M, R, S>(*g).record; }                      \
    extern "C" int64_t state_bytes_##name(const Given *g) {                                                            \
        Layout<M, R, S> layout(*g);                                                                                    \
        return State<R>::bytes(layout.exc) + State<R>::bytes(layout.inh);                                              \
    }

// Compiled once for each float type, side by side.
#ifdef SINGLE
EXPORT(Ping, float, float, ping_f32_f32)
EXPORT(Ping, float, BFloat16, ping_f32_bf16)
EXPORT(Cuba, float, float, cuba_f32_f32)
EXPORT(Cuba, float, BFloat16, cuba_f32_bf16)
#else
EXPORT(Ping, double, double, ping_f64_f64)
EXPORT(Ping, double, float, ping_f64_f32)
EXPORT(Cuba, double, double, cuba_f64_f64)
EXPORT(Cuba, double, float, cuba_f64_f32)
#endif
