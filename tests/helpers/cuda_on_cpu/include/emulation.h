// CUDA on a CPU, as much of it as the programs of brian2cuda use: kernels run thread by thread,
// device memory is memory of its own, never initialised, so that a copy that is missing shows.
// Arithmetic is that of the host, which is what a comparison with C++ programs needs.
#pragma once
#include <algorithm>
#include <cassert>
#include <climits>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __CUDA_ARCH__ 900

namespace emulated {
struct Index { unsigned x = 0, y = 0, z = 0; };
struct Device { int error = 0; size_t used = 0; };
inline Device device;

inline size_t memory() {  // bytes of the device
    const char* said = getenv("EMULATED_GPU_BYTES");
    return said ? strtoull(said, nullptr, 10) : size_t(1) << 34;
}
inline bool reversed() {  // run the threads of a kernel from the last to the first
    static const bool is = getenv("EMULATED_GPU_REVERSED") != nullptr;
    return is;
}
}  // namespace emulated

inline emulated::Index threadIdx, blockIdx, blockDim, gridDim;

namespace emulated {
template <class... P>
auto launcher(void (*kernel)(P...), long long n_blocks, long long n_threads, size_t = 0) {
    return [=](auto... arguments) {
        if (n_blocks < 1 || n_threads < 1 || n_threads > 1024) {
            device.error = 9;
            return;
        }
        gridDim.x = n_blocks;
        blockDim.x = n_threads;
        for (long long k = 0; k < n_blocks * n_threads; k++) {
            const long long at = reversed() ? n_blocks * n_threads - 1 - k : k;
            blockIdx.x = at / n_threads;
            threadIdx.x = at % n_threads;
            kernel(static_cast<P>(arguments)...);
        }
    };
}
}  // namespace emulated

inline void __syncthreads() {}
inline void __threadfence() {}
template <class T> T atomicAdd(T* address, std::common_type_t<T> value) {
    const T old = *address;
    *address = old + value;
    return old;
}
template <class T>
T atomicCAS(T* address, std::common_type_t<T> expected, std::common_type_t<T> value) {
    const T old = *address;
    if (old == expected) *address = value;
    return old;
}
template <class To, class From> To emulated_bits(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    memcpy(&to, &from, sizeof(to));
    return to;
}
inline long long __double_as_longlong(double x) { return emulated_bits<long long>(x); }
inline double __longlong_as_double(long long x) { return emulated_bits<double>(x); }
inline int __float_as_int(float x) { return emulated_bits<int>(x); }
inline float __int_as_float(int x) { return emulated_bits<float>(x); }

typedef int cudaError_t;
typedef cudaError_t cudaError;
enum { cudaSuccess = 0 };
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice };
enum cudaLimit { cudaLimitMallocHeapSize };
struct cudaDeviceProp {
    int multiProcessorCount, warpSize, maxThreadsPerBlock, maxThreadsPerMultiProcessor;
    size_t sharedMemPerBlock;
};
struct cudaFuncAttributes {
    int maxThreadsPerBlock, numRegs;
    size_t sharedSizeBytes, localSizeBytes, constSizeBytes;
};
inline const char* cudaGetErrorString(cudaError_t error) {
    switch (error) {
        case 0: return "no error";
        case 2: return "out of memory";
        case 9: return "invalid configuration argument";
        case 100: return "no CUDA-capable device is detected";
        case 209: return "no kernel image is available for execution on the device";
    }
    return "unknown error";
}
inline cudaError_t cudaGetLastError() {
    const int error = emulated::device.error;
    emulated::device.error = 0;
    return error;
}
inline cudaError_t cudaSetDevice(int) {
    const char* said = getenv("EMULATED_GPU_ERROR");
    return said ? atoi(said) : 0;
}
inline cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int) {
    *p = {2, 32, 1024, 2048, 49152};
    return 0;
}
inline cudaError_t cudaDeviceSetLimit(cudaLimit, size_t) { return 0; }
inline cudaError_t cudaDeviceSynchronize() { return 0; }
inline cudaError_t cudaProfilerStop() { return 0; }
inline cudaError_t cudaMalloc(void** at, size_t n) {
    emulated::device.used += n;
    if (emulated::device.used > emulated::memory()) return 2;
    *at = malloc(n ? n : 1);
    memset(*at, 0xAB, n);
    return 0;
}
inline cudaError_t cudaFree(void* at) { free(at); return 0; }
inline cudaError_t cudaMemcpy(void* to, const void* from, size_t n, cudaMemcpyKind) {
    if (n) memcpy(to, from, n);
    return 0;
}
template <class T> cudaError_t cudaMemcpyToSymbol(T& symbol, const void* from, size_t n) {
    memcpy(&symbol, from, n);
    return 0;
}
inline cudaError_t cudaMemGetInfo(size_t* free_, size_t* total) {
    *total = emulated::memory();
    *free_ = *total - std::min(*total, emulated::device.used);
    return 0;
}
template <class K>
cudaError_t cudaOccupancyMaxPotentialBlockSize(int* n_blocks, int* n_threads, K, size_t, int) {
    *n_blocks = 2;
    *n_threads = 32;  // several blocks even for a small network
    return 0;
}
template <class K>
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* n, K, int, size_t) {
    *n = 1;
    return 0;
}
template <class K> cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* a, K) {
    *a = {1024, 32, 0, 0, 0};
    return 0;
}

enum curandStatus_t {
    CURAND_STATUS_SUCCESS, CURAND_STATUS_VERSION_MISMATCH, CURAND_STATUS_NOT_INITIALIZED,
    CURAND_STATUS_ALLOCATION_FAILED, CURAND_STATUS_TYPE_ERROR, CURAND_STATUS_OUT_OF_RANGE,
    CURAND_STATUS_LENGTH_NOT_MULTIPLE, CURAND_STATUS_DOUBLE_PRECISION_REQUIRED,
    CURAND_STATUS_LAUNCH_FAILURE, CURAND_STATUS_PREEXISTING_FAILURE,
    CURAND_STATUS_INITIALIZATION_FAILED, CURAND_STATUS_ARCH_MISMATCH, CURAND_STATUS_INTERNAL_ERROR
};
#define CURAND_H_
enum { CURAND_RNG_PSEUDO_DEFAULT };
typedef void* curandGenerator_t;
struct curandState {};
template <class... A> curandStatus_t emulated_curand(A&&...) { return CURAND_STATUS_SUCCESS; }
#define curandCreateGenerator emulated_curand
#define curandDestroyGenerator emulated_curand
#define curandSetGeneratorOffset emulated_curand
#define curandSetPseudoRandomGeneratorSeed emulated_curand
// The networks draw nothing: whatever would draw must not be reached.
template <class... A> curandStatus_t emulated_draw(A&&...) { abort(); }
#define curandGenerateUniform emulated_draw
#define curandGenerateUniformDouble emulated_draw
#define curandGenerateNormal emulated_draw
#define curandGenerateNormalDouble emulated_draw
#define curandGeneratePoisson emulated_draw
inline void curand_init(unsigned long long, int, int, curandState*) { abort(); }

namespace thrust {
template <class T> struct device_vector : std::vector<T> {
    using std::vector<T>::vector;
    device_vector() = default;
    template <class V> device_vector& operator=(const V& other) {
        this->assign(other.begin(), other.end());
        return *this;
    }
};
template <class T> struct host_vector : std::vector<T> {
    using std::vector<T>::vector;
    host_vector() = default;
    template <class V> host_vector& operator=(const V& other) {
        this->assign(other.begin(), other.end());
        return *this;
    }
};
template <class T> T* raw_pointer_cast(T* pointer) { return pointer; }
template <class A, class B> using pair = std::pair<A, B>;
template <class I> void sequence(I begin, I end) {
    for (int k = 0; begin != end; ++begin) *begin = k++;
}
template <class K, class V> void sort_by_key(K begin, K end, V values) {
    std::vector<std::pair<int, int>> rows;
    for (K k = begin; k != end; ++k) rows.emplace_back(*k, values[k - begin]);
    std::stable_sort(rows.begin(), rows.end(), [](auto& a, auto& b) { return a.first < b.first; });
    for (size_t k = 0; k < rows.size(); k++) {
        begin[k] = rows[k].first;
        values[k] = rows[k].second;
    }
}
template <class K, class V> pair<K, V> unique_by_key(K begin, K end, V values) {
    K key = begin;
    V value = values;
    for (K k = begin; k != end; ++k) {
        if (k != begin && *k == *(key - 1)) continue;
        *key++ = *k;
        *value++ = values[k - begin];
    }
    return {key, value};
}
}  // namespace thrust
