// One step of the cells, forward and backward. The order of operations of the forward step is the
// contract of bridge/network/update_order.py: nothing here may be contracted or reordered.

#pragma once

#include "simd.h"

namespace {

constexpr double LOST = 1e6;  // mV, or thresholds
constexpr uint8_t FREE = 1, FIRED = 2, CUT = 4;

// What is kept of a step of a population in memory of type S: v before the reset, conductances,
// and flags; rows are padded to whole vectors. gi may be absent.
template <class S> struct Step {
    S *v, *ge, *gi;
    uint8_t *flags;
};

// The state of a population of one trial.
template <class R> struct Population {
    int n, stride;
    Rows<R> v, ge, gi, ref, kick_exc, kick_inh;
    std::vector<int> fired;
    explicit Population(int n)
        : n(n), stride(padded(n, Simd<R>::width)), v(stride), ge(stride), gi(stride), ref(stride), kick_exc(stride),
          kick_inh(stride) {
        fired.reserve(n);
    }
};

// Adjoints of a population of trials side by side, (row, stride); those of conductances are those of
// the kicks that arrive. spikes: what comes from the products with the weights.
template <class R> struct Adjoint {
    int n, stride, rows;
    Rows<R> v, ge, gi, spikes;
    Adjoint(int n, int rows)
        : n(n), stride(padded(n, Simd<R>::width)), rows(rows), v(size()), ge(size()), gi(size()), spikes(size()) {}
    size_t size() const { return size_t(rows) * stride; }
    void begin() {
        for (R *x : {v.start, ge.start, gi.start, spikes.start}) std::fill_n(x, size(), R(0));
    }
};

// With fewer digits a voltage is kept as its distance from threshold: it matters most close to it.
template <class R, class S> constexpr R offset(double v_th) { return std::is_same_v<R, S> ? R(0) : R(v_th); }

template <class R> inline Flags<R> flag(I<R> mask, uint8_t bit) {
    return __builtin_convertvector(mask, Flags<R>) & (Flags<R>{} + bit);
}
template <class R> inline I<R> mask_of(Flags<R> flags, uint8_t bit) {
    return __builtin_convertvector(flags & (Flags<R>{} + bit), I<R>) != I<R>{};
}
template <class R> inline void append_fired(std::vector<int> &to, int at, int n, Flags<R> flags) {
    uint64_t words[2] = {0, 0};
    uint8_t bytes[sizeof flags];
    std::memcpy(words, &flags, sizeof flags);
    constexpr uint64_t fired = 0x0202020202020202u;
    if (!((words[0] | words[1]) & fired)) return;
    std::memcpy(bytes, &flags, sizeof flags);
    for (int k = 0; k < std::min(Simd<R>::width, n - at); ++k)
        if (bytes[k] & FIRED) to.push_back(at + k);
}
template <class R> inline bool any(I<R> mask) {
    for (int k = 0; k < Simd<R>::width; ++k)
        if (mask[k]) return true;
    return false;
}

// Conductance-based cells; constants in the order in which train_torch/kernels/layer.py fills them in.
struct Ping {
    double dt, decay_exc, decay_inh, g_leak, e_leak, e_exc, e_inh, c_m;
    double v_th, v_reset, v_floor, n_ref, slope, dampen;
    static constexpr bool has_conductances = true;

    // Returns whether every voltage is sane.
    template <class R, class S> bool step(Population<R> &p, const Step<S> *kept) const {
        typedef Simd<R> W;
        const R dt = R(this->dt), decay_exc = R(this->decay_exc), decay_inh = R(this->decay_inh);
        const R g_leak = R(this->g_leak), leak = R(this->g_leak * e_leak), e_exc = R(this->e_exc);
        const R e_inh = R(this->e_inh), c_m = R(this->c_m);
        const F<R> v_th = all<R>(R(this->v_th)), v_reset = all<R>(R(this->v_reset)), zero = {};
        const F<R> floor = all<R>(R(v_floor)), n_ref = all<R>(R(this->n_ref)), limit = all<R>(R(LOST));
        I<R> insane = {};
        p.fired.clear();
        for (int j = 0; j < p.stride; j += W::width) {
            F<R> ge = load<R>(p.ge + j) * decay_exc + load<R>(p.kick_exc + j);
            F<R> gi = load<R>(p.gi + j) * decay_inh + load<R>(p.kick_inh + j);
            F<R> v0 = load<R>(p.v + j);
            F<R> g = g_leak + (ge + gi);
            F<R> v_inf = (leak + (ge * e_exc + gi * e_inh)) / g;
            F<R> v = v0 + (v_inf - v0) * (R(1) - exp_of<R>(-(dt / (c_m / g))));
            insane |= ~((v < limit) & (v > -limit));
            I<R> cut = v < floor;
            v = cut ? floor : v;
            F<R> ref = load<R>(p.ref + j) - R(1);
            ref = ref < zero ? zero : ref;
            I<R> free = ref == zero;
            I<R> fire = (v >= v_th) & free;
            store<R>(p.ge + j, ge);
            store<R>(p.gi + j, gi);
            store<R>(p.v + j, (fire | ~free) ? v_reset : v);
            store<R>(p.ref + j, fire ? n_ref : ref);
            Flags<R> flags = flag<R>(free, FREE) | flag<R>(fire, FIRED) | flag<R>(cut, CUT);
            if (kept) {
                keep<R>(kept->v + j, v - offset<R, S>(this->v_th));
                keep<R>(kept->ge + j, ge);
                if (kept->gi) keep<R>(kept->gi + j, gi);
                std::memcpy(kept->flags + j, &flags, sizeof flags);
            }
            append_fired<R>(p.fired, j, p.n, flags);
        }
        return !any<R>(insane);
    }

    // One row of a step backward. `before`: the step before, or null at the start, whose voltages
    // are v_start. from_counts (stride) is what every spike of the trial receives.
    template <class R, class S>
    void back(Adjoint<R> &a, int row, Step<S> s, const Step<S> *before, const R *v_start, const R *from_counts) const {
        typedef Simd<R> W;
        const R dt_c = R(dt / c_m), decay_exc = R(this->decay_exc), decay_inh = R(this->decay_inh);
        const R g_leak = R(this->g_leak), leak = R(this->g_leak * e_leak), e_exc = R(this->e_exc);
        const R e_inh = R(this->e_inh), slope = R(this->slope), pass = R(1.0 / dampen);
        const R away = offset<R, S>(v_th);
        const F<R> zero = {}, v_reset = all<R>(R(this->v_reset));
        R *av = a.v + row * a.stride, *age = a.ge + row * a.stride, *agi = a.gi + row * a.stride;
        const R *as = a.spikes + row * a.stride;
        for (int j = 0; j < a.stride; j += W::width) {
            F<R> v = fetch<R>(s.v + j) + away, ge = fetch<R>(s.ge + j), v0;
            F<R> gi = s.gi ? fetch<R>(s.gi + j) : zero;
            Flags<R> flags;
            std::memcpy(&flags, s.flags + j, sizeof flags);
            I<R> free = mask_of<R>(flags, FREE), fired = mask_of<R>(flags, FIRED), cut = mask_of<R>(flags, CUT);
            if (before) {
                std::memcpy(&flags, before->flags + j, sizeof flags);
                v0 = mask_of<R>(flags, FIRED) | ~mask_of<R>(flags, FREE) ? v_reset : fetch<R>(before->v + j) + away;
            } else {
                v0 = load<R>(v_start + j);
            }
            F<R> gz = load<R>(as + j) + load<R>(from_counts + j);
            F<R> u = v - R(v_th);
            u = u < zero ? -u : u;
            F<R> flank = R(1) + slope * u;
            F<R> gv = free & ~fired ? load<R>(av + j) : zero;
            gv += free ? gz * (slope / (flank * flank)) : zero;
            gv = cut ? zero : gv;
            F<R> g = g_leak + (ge + gi), inverse = R(1) / g;
            F<R> v_inf = (leak + (ge * e_exc + gi * e_inh)) * inverse;
            F<R> stay = exp_of<R>(-(dt_c * g));
            F<R> rise = R(1) - stay, gd = gv * pass, h = rise * inverse;
            F<R> q = (v_inf - v0) * dt_c * stay;
            store<R>(av + j, gv - gd * rise);
            store<R>(age + j, load<R>(age + j) * decay_exc + gd * (q + (e_exc - v_inf) * h));
            store<R>(agi + j, load<R>(agi + j) * decay_inh + gd * (q + (e_inh - v_inf) * h));
        }
    }
};

// Current-based cells: hard reset to 0, lower clamp at 0, no refractory time, arctan surrogate.
struct Cuba {
    double leak, tau, v_th, slope;
    static constexpr bool has_conductances = false;

    template <class R, class S> bool step(Population<R> &p, const Step<S> *kept) const {
        typedef Simd<R> W;
        const R leak = R(this->leak), tau = R(this->tau);
        const F<R> v_th = all<R>(R(this->v_th)), zero = {}, limit = all<R>(R(LOST));
        I<R> insane = {};
        p.fired.clear();
        for (int j = 0; j < p.stride; j += W::width) {
            F<R> v0 = load<R>(p.v + j), kick = load<R>(p.kick_exc + j) - load<R>(p.kick_inh + j);
            F<R> v = (v0 - leak * v0) + kick / tau;
            I<R> cut = v < zero;
            v = cut ? zero : v;
            I<R> fire = v >= v_th;
            F<R> after = fire ? zero : v;
            insane |= ~(after < limit);
            store<R>(p.v + j, after);
            Flags<R> flags = flag<R>(cut, CUT) | flag<R>(fire, FIRED);
            if (kept) {
                keep<R>(kept->v + j, v - offset<R, S>(this->v_th));
                std::memcpy(kept->flags + j, &flags, sizeof flags);
            }
            append_fired<R>(p.fired, j, p.n, flags);
        }
        return !any<R>(insane);
    }

    template <class R, class S>
    void back(Adjoint<R> &a, int row, Step<S> s, const Step<S> *, const R *, const R *from_counts) const {
        const R slope = R(this->slope), scale = R(3.14159265358979323846 * this->slope), per_tau = R(1.0 / tau);
        const R away = offset<R, S>(v_th);
        const F<R> zero = {};
        R *av = a.v + row * a.stride, *age = a.ge + row * a.stride, *agi = a.gi + row * a.stride;
        const R *as = a.spikes + row * a.stride;
        for (int j = 0; j < a.stride; j += Simd<R>::width) {
            Flags<R> flags;
            std::memcpy(&flags, s.flags + j, sizeof flags);
            F<R> u = (fetch<R>(s.v + j) + away - R(v_th)) * scale;
            F<R> gz = load<R>(as + j) + load<R>(from_counts + j);
            F<R> gv = mask_of<R>(flags, FIRED) ? zero : load<R>(av + j);
            gv += gz * (slope / (R(1) + u * u));
            gv = mask_of<R>(flags, CUT) ? zero : gv;
            store<R>(av + j, gv * R(1.0 - leak));
            store<R>(age + j, gv * per_tau);
            store<R>(agi + j, -gv * per_tau);
        }
    }
};

}  // namespace
