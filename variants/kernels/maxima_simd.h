// Vectors of the width that the compiler's target has, and aligned buffers.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <type_traits>

// One call: numbers of images, positions, widths; `same`: gallery is the query; `symmetric`: the prior is, or there is
// none.
struct Task {
  int64_t Q, G, T, d, query_stride, gallery_stride;
  int32_t same, symmetric, threads;
};

// kRows x 2 accumulators, 2 gallery vectors and a broadcast must fit the vector registers (32, 16 or 32 of them).
#if defined(__AVX512F__)
constexpr int kBytes = 64, kRows = 12;
#elif defined(__AVX__)
constexpr int kBytes = 32, kRows = 6;
#else
constexpr int kBytes = 16, kRows = 6;
#endif

template <class A> struct Simd {
  typedef A Vec __attribute__((vector_size(kBytes)));
  typedef A Loose __attribute__((vector_size(kBytes), aligned(sizeof(A)), may_alias));
  static constexpr int kLanes = kBytes / sizeof(A), kPanel = 2 * kLanes;
  using Mask = decltype(Vec{} < Vec{});
  using Index = std::conditional_t<sizeof(A) == 4, int32_t, int64_t>;
};

template <class X> struct Buffer {
  explicit Buffer(int64_t count)
      : data(static_cast<X*>(std::aligned_alloc(64, (count * sizeof(X) / 64 + 1) * 64)), &std::free) {}
  X* get() const { return data.get(); }
  std::unique_ptr<X, decltype(&std::free)> data;
};

int64_t up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }
