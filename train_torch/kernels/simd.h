// Vectors, the exponential, storage and threads that the loops share.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <thread>
#include <type_traits>
#include <vector>

#if defined(__SSE2__)
#include <immintrin.h>
#endif
#if defined(__linux__)
#include <sys/mman.h>
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
    typedef uint8_t B __attribute__((vector_size(BYTES / 4)));
    static constexpr int mantissa = 23, offset = 127, terms = 7;
    static constexpr float magic = 12582912.0f;  // 1.5 * 2**23: adding it rounds to whole numbers
    static constexpr float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f, lowest = -87.0f, highest = 88.0f;
};
template <> struct Simd<double> {
    typedef double F __attribute__((vector_size(BYTES)));
    typedef int64_t I __attribute__((vector_size(BYTES)));
    static constexpr int width = BYTES / 8;
    typedef uint8_t B __attribute__((vector_size(BYTES / 8)));
    static constexpr int mantissa = 52, offset = 1023, terms = 13;
    static constexpr double magic = 6755399441055744.0;  // 1.5 * 2**52
    static constexpr double ln2_high = 6.93145751953125e-1, ln2_low = 1.42860682030941723212e-6;
    static constexpr double lowest = -708.0, highest = 709.0;
};

template <class R> using F = typename Simd<R>::F;
template <class R> using I = typename Simd<R>::I;
template <class R> using Flags = typename Simd<R>::B;

template <class R> inline F<R> all(R x) { return x - F<R>{}; }  // unlike 0 + x, no operation

template <class R> inline F<R> load(const R *from) {
    F<R> x;
    std::memcpy(&x, from, sizeof x);
    return x;
}
template <class R> inline void store(R *to, F<R> x) { std::memcpy(to, &x, sizeof x); }

// The upper half of a float32, rounded to nearest.
struct BFloat16 {
    uint16_t bits;
};

// A vector of R to and from memory that may hold fewer digits.
template <class R, class S> inline F<R> fetch(const S *from) {
    if constexpr (std::is_same_v<R, S>) {
        return load<R>(from);
    } else if constexpr (std::is_same_v<S, BFloat16>) {
        typedef uint16_t Half __attribute__((vector_size(BYTES / 2)));
        Half half;
        std::memcpy(&half, from, sizeof half);
        return (F<R>)(__builtin_convertvector(half, I<R>) << 16);
    } else {
        typedef float Half __attribute__((vector_size(BYTES / 2)));
        Half half;
        std::memcpy(&half, from, sizeof half);
        return __builtin_convertvector(half, F<R>);
    }
}
template <class R, class S> inline void keep(S *to, F<R> x) {
    if constexpr (std::is_same_v<R, S>) {
        store<R>(to, x);
    } else if constexpr (std::is_same_v<S, BFloat16>) {
        typedef uint16_t Half __attribute__((vector_size(BYTES / 2)));
        typedef uint32_t Word __attribute__((vector_size(BYTES)));
        Word bits = (Word)x;
        Half half = __builtin_convertvector((bits + 0x7fff + ((bits >> 16) & 1)) >> 16, Half);
        std::memcpy(to, &half, sizeof half);
    } else {
        typedef float Half __attribute__((vector_size(BYTES / 2)));
        Half half = __builtin_convertvector(x, Half);
        std::memcpy(to, &half, sizeof half);
    }
}

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

// Asks for memory that will be read soon, from the end: it runs backward, which processors foresee less.
inline void fetch_ahead(const uint8_t *start, size_t n_bytes) {
    for (size_t at = 0; at < n_bytes; at += 64) __builtin_prefetch(start + at);
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
    Rows(Rows &&) = default;  // the vector keeps its place
    operator R *() { return start; }
    operator const R *() const { return start; }
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

// Fresh memory arrives in large pages where the system has them: a trajectory is hundreds of
// thousands of small ones, and each would stop the loop when it is first touched.
inline void want_large_pages(void *start, size_t n_bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    constexpr uintptr_t page = uintptr_t(1) << 21;
    uintptr_t first = (reinterpret_cast<uintptr_t>(start) + page - 1) / page * page;
    uintptr_t last = (reinterpret_cast<uintptr_t>(start) + n_bytes) / page * page;
    if (last > first) madvise(reinterpret_cast<void *>(first), last - first, MADV_HUGEPAGE);
#else
    (void)start, (void)n_bytes;
#endif
}

}  // namespace
