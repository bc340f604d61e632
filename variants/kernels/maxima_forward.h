// Maxima of all pairs of images.
//
// A query image and a gallery image are packed so that the innermost loop reads both in order; their product is
// computed kRows x kPanel values at a time in registers, one panel of kPanel gallery positions after the other, and
// each finished panel (T x kPanel, in the first-level cache) is reduced at once. No T x T similarities are stored.
// Every sum runs over d in order, within one thread: results depend neither on the thread count nor on which of two
// images is the query.
#pragma once
#include <algorithm>
#include <limits>
#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

#include "maxima_simd.h"

constexpr int64_t kGalleryPerItem = 16;           // amortises packing the query image
constexpr int64_t kPackedBytes = 16ll << 20;      // gallery images packed at a time

// How a number format is packed and multiplied. A Packed value holds the products' operands of one step.
template <class A> struct Native {
  using In = A;
  using Acc = A;
  using Packed = A;
  static constexpr int kDepth = 1;
  static Packed pick(const In* row, int64_t k, int64_t) { return row[k]; }
  static typename Simd<A>::Vec step(typename Simd<A>::Vec sum, Packed a, const Packed* b) {
    return sum + a * *reinterpret_cast<const typename Simd<A>::Loose*>(b);
  }
};

#if defined(__AVX512BF16__)
struct Brain16 {
  using In = uint16_t;
  using Acc = float;
  using Packed = uint32_t;
  static constexpr int kDepth = 2;
  static Packed pick(const In* row, int64_t k, int64_t d) {
    const uint32_t high = 2 * k + 1 < d ? row[2 * k + 1] : 0;
    return row[2 * k] | high << 16;
  }
  static Simd<float>::Vec step(Simd<float>::Vec sum, Packed a, const Packed* b) {
    return (Simd<float>::Vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32(int(a)),
                                              (__m512bh)_mm512_loadu_si512(b));
  }
};
#endif

// One image [T, d] as [ceil(T / width)][ceil(d / depth)][width], zero where there is no position.
template <class F> void pack(const typename F::In* image, int64_t T, int64_t d, int width, typename F::Packed* out) {
  const int64_t steps = up(d, F::kDepth) / F::kDepth;
  for (int64_t first = 0; first < T; first += width, out += steps * width)
    for (int lane = 0; lane < width; ++lane)
      for (int64_t k = 0; k < steps; ++k)
        out[k * width + lane] = first + lane < T ? F::pick(image + (first + lane) * d, k, d) : typename F::Packed(0);
}

// kRows query positions times kPanel gallery positions.
template <class F>
void multiply(const typename F::Packed* a, const typename F::Packed* b, int64_t steps, typename F::Acc* out) {
  using S = Simd<typename F::Acc>;
  typename S::Vec sum[kRows][2] = {};
  for (int64_t k = 0; k < steps; ++k, a += kRows, b += S::kPanel) {
#pragma GCC unroll 12
    for (int row = 0; row < kRows; ++row) {
      sum[row][0] = F::step(sum[row][0], a[row], b);
      sum[row][1] = F::step(sum[row][1], a[row], b + S::kLanes);
    }
  }
#pragma GCC unroll 12
  for (int row = 0; row < kRows; ++row)
    for (int half = 0; half < 2; ++half)
      *reinterpret_cast<typename S::Loose*>(out + row * S::kPanel + half * S::kLanes) = sum[row][half];
}

// Larger wins, the earlier of equals stays, NaN wins over all but an earlier NaN.
template <class V, class M> inline void keep_larger(V& best, M& at, V value, M position) {
  const M larger = ~(value <= best) & (best == best);
  best = larger ? value : best;
  at = larger ? position : at;
}

// Running maxima of one pair; the query side kept per lane until the last panel.
template <class A> struct Reduction {
  using S = Simd<A>;
  using Vec = typename S::Vec;
  using Mask = typename S::Mask;
  Reduction(int64_t T) : T(T), best(T * S::kLanes), at(T * S::kLanes) {}

  void start() {
    std::fill_n(best.get(), T * S::kLanes, -std::numeric_limits<A>::infinity());
    std::fill_n(at.get(), T * S::kLanes, 0);
  }

  // values [T, kPanel] of gallery positions from `first` on; prior null or padded, `stride` values a row.
  template <bool kEdge>
  void panel(const A* values, int64_t first, const A* prior, int64_t stride, A* column_best, int16_t* column_at) {
    for (int half = 0; half < 2; ++half) {
      const int64_t left = first + half * S::kLanes;
      Vec top = Vec{} - std::numeric_limits<A>::infinity();
      Mask top_at = {}, position = {};
      for (int lane = 0; lane < S::kLanes; ++lane) position[lane] = left + lane;
      const Mask inside = position < Mask{} + typename S::Index(T);
      Vec* row_best = reinterpret_cast<Vec*>(best.get());
      Mask* row_at = reinterpret_cast<Mask*>(at.get());
      for (int64_t t = 0; t < T; ++t) {
        Vec value = *reinterpret_cast<const typename S::Loose*>(values + t * S::kPanel + half * S::kLanes);
        if (prior) value *= *reinterpret_cast<const typename S::Loose*>(prior + t * stride + left);
        if (kEdge) value = inside ? value : Vec{} - std::numeric_limits<A>::infinity();
        keep_larger(top, top_at, value, Mask{} + typename S::Index(t));
        keep_larger(row_best[t], row_at[t], value, position);
      }
      for (int lane = 0; lane < S::kLanes && left + lane < T; ++lane) {
        column_best[left + lane] = top[lane];
        if (column_at) column_at[left + lane] = int16_t(top_at[lane]);
      }
    }
  }

  void finish(A* out_best, int16_t* out_at) const {
    for (int64_t t = 0; t < T; ++t) {
      const A* value = best.get() + t * S::kLanes;
      const typename S::Index* where = at.get() + t * S::kLanes;
      A top = value[0];
      auto top_at = where[0];
      for (int lane = 1; lane < S::kLanes; ++lane) {
        const bool same = value[lane] == top || (value[lane] != value[lane] && top != top);
        const bool larger = !(value[lane] <= top) && top == top;
        if (larger || (same && where[lane] < top_at)) top = value[lane], top_at = where[lane];
      }
      out_best[t] = top;
      if (out_at) out_at[t] = int16_t(top_at);
    }
  }

  int64_t T;
  Buffer<A> best;
  Buffer<typename S::Index> at;
};

template <class A> Buffer<A> padded(const A* prior, int64_t T, int64_t stride, bool transposed) {
  Buffer<A> out(T * stride);
  for (int64_t t = 0; t < T; ++t)
    for (int64_t s = 0; s < stride; ++s)
      out.get()[t * stride + s] = s < T ? (transposed ? prior[s * T + t] : prior[t * T + s]) : A(0);
  return out;
}

template <class F> struct Pairs {
  using A = typename F::Acc;
  using Packed = typename F::Packed;
  using S = Simd<A>;
  int64_t T, G, steps, stride;
  const A *prior, *turned;  // padded; `turned`, the transposed prior, only where the mirrored pair needs its own pass
  A* best;
  int16_t* at;  // null where nobody wants positions

  // Maxima of query image i and gallery image j, and of the mirrored pair if `mirror`.
  void one(const Packed* a, const Packed* b, int64_t i, int64_t j, bool mirror, A* values, Reduction<A>& ours,
           Reduction<A>& theirs) const {
    A* out = best + (i * G + j) * 2 * T;
    int16_t* out_at = at ? at + (i * G + j) * 2 * T : nullptr;
    A* other = best + (j * G + i) * 2 * T;
    int16_t* other_at = at ? at + (j * G + i) * 2 * T : nullptr;
    const bool twice = mirror && turned;
    ours.start();
    if (twice) theirs.start();
    for (int64_t first = 0; first < T; first += S::kPanel, b += steps * S::kPanel) {
      for (int64_t row = 0; row < T; row += kRows)
        multiply<F>(a + row * steps, b, steps, values + row * S::kPanel);
      reduce(ours, values, first, prior, out + T, at ? out_at + T : nullptr);
      if (twice) reduce(theirs, values, first, turned, other, other_at);
    }
    ours.finish(out, out_at);
    if (twice) {
      theirs.finish(other + T, at ? other_at + T : nullptr);
    } else if (mirror) {
      std::rotate_copy(out, out + T, out + 2 * T, other);
      if (at) std::rotate_copy(out_at, out_at + T, out_at + 2 * T, other_at);
    }
  }

  void reduce(Reduction<A>& into, const A* values, int64_t first, const A* weight, A* out, int16_t* out_at) const {
    if (first + S::kPanel > T)
      into.template panel<true>(values, first, weight, stride, out, out_at);
    else
      into.template panel<false>(values, first, weight, stride, out, out_at);
  }
};

// prior [T, T] or null -> best and, unless null, at [Q, G, 2, T]. With `same` each product serves the mirrored pair too.
template <class F>
void forward(const Task& task, const typename F::In* query, const typename F::In* gallery,
             const typename F::Acc* prior, typename F::Acc* best, int16_t* at) {
  using A = typename F::Acc;
  using S = Simd<A>;
  using Packed = typename F::Packed;
  const int64_t T = task.T, d = task.d, Q = task.Q, G = task.G;
  const int64_t steps = up(d, F::kDepth) / F::kDepth, stride = up(T, S::kPanel), size = stride * steps;
  const bool turn = prior && task.same && !task.symmetric;
  const Buffer<A> weight = padded(prior, prior ? T : 0, stride, false);
  const Buffer<A> turned = padded(prior, turn ? T : 0, stride, true);
  const Pairs<F> pairs{T, G, steps, stride, prior ? weight.get() : nullptr, turn ? turned.get() : nullptr, best, at};
  const int64_t chunk = std::min(G, std::max<int64_t>(1, kPackedBytes / int64_t(size * sizeof(Packed))));
  const Buffer<Packed> packed(chunk * size);
#pragma omp parallel num_threads(task.threads)
  {
    const Buffer<Packed> rows(up(T, kRows) * steps);
    const Buffer<A> values(up(T, kRows) * S::kPanel);
    Reduction<A> one(T), two(T);
    for (int64_t left = 0; left < G; left += chunk) {
      const int64_t right = std::min(G, left + chunk), items = up(right - left, kGalleryPerItem) / kGalleryPerItem;
#pragma omp for schedule(static)
      for (int64_t j = left; j < right; ++j)
        pack<F>(gallery + j * task.gallery_stride, T, d, S::kPanel, packed.get() + (j - left) * size);
#pragma omp for schedule(dynamic, 1)
      for (int64_t item = 0; item < Q * items; ++item) {
        const int64_t i = item / items, start = left + item % items * kGalleryPerItem;
        const int64_t stop = std::min(right, start + kGalleryPerItem), begin = task.same ? std::max(start, i) : start;
        if (begin < stop) pack<F>(query + i * task.query_stride, T, d, kRows, rows.get());
        for (int64_t j = begin; j < stop; ++j)
          pairs.one(rows.get(), packed.get() + (j - left) * size, i, j, task.same && j > i, values.get(), one, two);
      }
    }
  }
}
