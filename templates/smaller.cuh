template <class T>
__device__ __forceinline__ T smaller(T a, T b) {
  return a < b ? a : b;
}
