#pragma once

// A function that kernels call is an ordinary inline function too, which the tests run on the CPU.
#ifdef __CUDACC__
#define WEFT_HOST_DEVICE __host__ __device__
#else
#define WEFT_HOST_DEVICE
#endif
