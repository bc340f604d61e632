// Similarities of all positions of two images, reduced to their maxima, and the sparse gradient of that.
//
// Plain C++ behind a C interface, called through ctypes: it needs a compiler and no headers of PyTorch or Python.
// Letters: Q queries, G gallery images, T positions of an image, d width. Images may lie apart (`_stride` values from
// one to the next); an image itself is dense.
#include "maxima_backward.h"
#include "maxima_forward.h"

#define MAXIMA_FORWARD(NAME, FORMAT)                                                                        \
  extern "C" void NAME(const Task* task, const FORMAT::In* query, const FORMAT::In* gallery,                \
                       const FORMAT::Acc* prior, FORMAT::Acc* best, int16_t* at) {                          \
    forward<FORMAT>(*task, query, gallery, prior, best, at);                                                \
  }
#define MAXIMA_BACKWARD(NAME, A)                                                                            \
  extern "C" void NAME(const Task* task, const A* query, const A* gallery, const A* prior, const A* grad,   \
                       const int16_t* at, A* grad_query, A* grad_gallery, A* grad_prior) {                  \
    backward<A>({*task, grad, at, query, gallery, prior}, grad_query, grad_gallery, grad_prior);            \
  }
using Single = Native<float>;
using Double = Native<double>;
MAXIMA_FORWARD(maxima_forward_float32, Single)
MAXIMA_FORWARD(maxima_forward_float64, Double)
#if defined(__AVX512BF16__)
MAXIMA_FORWARD(maxima_forward_bfloat16, Brain16)  // absent where the CPU has no such products
#endif
MAXIMA_BACKWARD(maxima_backward_float32, float)
MAXIMA_BACKWARD(maxima_backward_float64, double)
