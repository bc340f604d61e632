// The sparse gradient of the maxima: each sends its gradient to one query row, one gallery row and one prior entry.
//
// Threads own whole images of the gradient, and whole slots of the prior's, so nothing depends on their number.
#pragma once
#include <algorithm>

#include "maxima_simd.h"

constexpr int64_t kSlots = 64;  // partial sums of the prior's gradient, whatever the thread count

template <class A> void add_scaled(A* out, A scale, const A* row, int64_t d) {
  for (int64_t k = 0; k < d; ++k) out[k] += scale * row[k];
}

template <class A> A dot(const A* left, const A* right, int64_t d) {
  using S = Simd<A>;
  typename S::Vec sum[4] = {};
  int64_t k = 0;
  for (; k + 4 * S::kLanes <= d; k += 4 * S::kLanes)
    for (int part = 0; part < 4; ++part)
      sum[part] += *reinterpret_cast<const typename S::Loose*>(left + k + part * S::kLanes) *
                   *reinterpret_cast<const typename S::Loose*>(right + k + part * S::kLanes);
  const typename S::Vec all = (sum[0] + sum[1]) + (sum[2] + sum[3]);
  A total = 0;
  for (int lane = 0; lane < S::kLanes; ++lane) total += all[lane];
  for (; k < d; ++k) total += left[k] * right[k];
  return total;
}

template <class A> struct Backward : Task {
  const A* grad;        // [Q, G, 2, T]
  const int16_t* at;    // [Q, G, 2, T]
  const A *query, *gallery, *prior;

  const A* query_row(int64_t i, int64_t t) const { return query + i * query_stride + t * d; }
  const A* gallery_row(int64_t j, int64_t s) const { return gallery + j * gallery_stride + s * d; }
  A weight(int64_t t, int64_t s) const { return prior ? prior[t * T + s] : A(1); }
  const A* grad_of(int64_t i, int64_t j, int side) const { return grad + ((i * G + j) * 2 + side) * T; }
  const int16_t* at_of(int64_t i, int64_t j, int side) const { return at + ((i * G + j) * 2 + side) * T; }

  // Query image i against all of the gallery: its own gradient (or null), and a slot of the prior's (or null).
  void as_query(int64_t i, A* out, A* slot) const {
    for (int64_t j = 0; j < G; ++j)
      for (int side = 0; side < 2; ++side)
        for (int64_t n = 0; n < T; ++n) {
          const int64_t found = at_of(i, j, side)[n], t = side ? found : n, s = side ? n : found;
          const A *own = query_row(i, t), *other = gallery_row(j, s), g = grad_of(i, j, side)[n];
          if (out) add_scaled(out + t * d, g * weight(t, s), other, d);
          if (slot) slot[t * T + s] += g * dot(own, other, d);
        }
  }

  void as_gallery(int64_t j, A* out) const {
    for (int64_t i = 0; i < Q; ++i)
      for (int side = 0; side < 2; ++side)
        for (int64_t n = 0; n < T; ++n) {
          const int64_t found = at_of(i, j, side)[n], t = side ? found : n, s = side ? n : found;
          add_scaled(out + s * d, grad_of(i, j, side)[n] * weight(t, s), query_row(i, t), d);
        }
  }

  // Gallery = query and a symmetric prior: pair (j, i) has the maxima of (i, j), so both roles share each row.
  void as_both(int64_t i, A* out, A* slot) const {
    for (int64_t j = 0; j < G; ++j) {
      const A *here = grad_of(i, j, 0), *there = grad_of(j, i, 1);
      for (int64_t t = 0; t < T; ++t) {
        const int64_t s = at_of(i, j, 0)[t];
        const A *own = query_row(i, t), *other = query_row(j, s);
        if (out) add_scaled(out + t * d, (here[t] + there[t]) * weight(t, s), other, d);
        if (!slot) continue;
        const A product = dot(own, other, d);
        slot[t * T + s] += here[t] * product;
        slot[s * T + t] += there[t] * product;
      }
      here = grad_of(i, j, 1), there = grad_of(j, i, 0);
      for (int64_t s = 0; out && s < T; ++s) {
        const int64_t t = at_of(i, j, 1)[s];
        add_scaled(out + t * d, (here[s] + there[s]) * weight(t, s), query_row(j, s), d);
      }
    }
  }
};

// Adds to grad_query, grad_gallery (null if same: both roles go to grad_query) and grad_prior; each may be null.
template <class A> void backward(const Backward<A>& task, A* grad_query, A* grad_gallery, A* grad_prior) {
  const int64_t slots = grad_prior ? std::min(task.Q, kSlots) : task.Q, size = task.T * task.T, image = task.T * task.d;
  const bool both = task.same && task.symmetric;
  const Buffer<A> partial(grad_prior ? slots * size : 0);
#pragma omp parallel num_threads(task.threads)
  {
#pragma omp for schedule(dynamic, 1)
    for (int64_t slot = 0; slot < slots; ++slot) {
      A* own = grad_prior ? partial.get() + slot * size : nullptr;
      if (own) std::fill_n(own, size, A(0));
      for (int64_t i = slot; i < task.Q; i += slots) {
        A* out = grad_query ? grad_query + i * image : nullptr;
        both ? task.as_both(i, out, own) : task.as_query(i, out, own);
      }
    }
    A* gallery_side = both ? nullptr : task.same ? grad_query : grad_gallery;
    if (gallery_side) {
#pragma omp for schedule(dynamic, 1)
      for (int64_t j = 0; j < task.G; ++j) task.as_gallery(j, gallery_side + j * image);
    }
    if (grad_prior) {
#pragma omp for schedule(static)
      for (int64_t n = 0; n < size; ++n)
        for (int64_t slot = 0; slot < slots; ++slot) grad_prior[n] += partial.get()[slot * size + n];
    }
  }
}
