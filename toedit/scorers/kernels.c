/* For CPUs with AVX-512 BF16: the LM head's product, log-sum-exp and top K of some rows; GELU.
 *
 * PyTorch's product of bfloat16 matrices on a CPU returns bfloat16, which is too coarse for logits, and its float32
 * product runs at half the rate; its log-sum-exp and top-K take longer than the product of a small prior. Compiled and
 * called by compiled_kernels.py.
 *
 * V vocabulary entries, H hidden units, R rows, M of them chosen, K candidates.
 */
#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

enum { PANEL = 64, VECTORS = PANEL / 16, ROWS = 6, BLOCK = 4096 };

/* mask of the first `left` of 16 lanes */
#define LANES(left) ((left) >= 16 ? (__mmask16)0xFFFF : (__mmask16)((1u << (left)) - 1))

/* --- the product ------------------------------------------------------------------------------------------------------
 *
 * Weights are packed once: panels of 64 vocabulary entries, inside a panel pairs of hidden units, which is how the
 * instruction wants them. A tile of 6 rows and 64 entries stays in registers over all hidden units.
 */

/* weights [V, H], H even -> packed [panels, H / 2, PANEL, 2], padded with zeros */
void pack(const uint16_t *weights, uint16_t *packed, int64_t V, int64_t H, int threads) {
  int64_t panels = (V + PANEL - 1) / PANEL;
#pragma omp parallel for num_threads(threads)
  for (int64_t panel = 0; panel < panels; panel++)
    for (int64_t pair = 0; pair < H / 2; pair++)
      for (int64_t column = 0; column < PANEL; column++) {
        int64_t entry = panel * PANEL + column;
        uint16_t *to = packed + ((panel * (H / 2) + pair) * PANEL + column) * 2;
        to[0] = entry < V ? weights[entry * H + 2 * pair] : 0;
        to[1] = entry < V ? weights[entry * H + 2 * pair + 1] : 0;
      }
}

static inline __attribute__((always_inline)) void tile(const uint16_t *hidden, const uint16_t *panel, float *out,
                                                       int64_t H, int64_t V, int rows, int columns) {
  __m512 sum[ROWS][VECTORS];
  for (int row = 0; row < rows; row++)
    for (int vector = 0; vector < VECTORS; vector++) sum[row][vector] = _mm512_setzero_ps();
  for (int64_t pair = 0; pair < H / 2; pair++) {
    __m512i weight[VECTORS];
    for (int vector = 0; vector < VECTORS; vector++)
      weight[vector] = _mm512_loadu_si512(panel + pair * 2 * PANEL + 32 * vector);
    for (int row = 0; row < rows; row++) {
      int32_t both;
      memcpy(&both, hidden + row * H + 2 * pair, sizeof both);
      __m512i unit = _mm512_set1_epi32(both);
      for (int vector = 0; vector < VECTORS; vector++)
        sum[row][vector] = _mm512_dpbf16_ps(sum[row][vector], (__m512bh)unit, (__m512bh)weight[vector]);
    }
  }
  for (int row = 0; row < rows; row++)
    for (int vector = 0; vector < VECTORS; vector++) {
      int left = columns - 16 * vector;
      if (left > 0) _mm512_mask_storeu_ps(out + row * V + 16 * vector, LANES(left), sum[row][vector]);
    }
}

/* hidden [R, H], packed weights -> logits [R, V] */
void product(const uint16_t *hidden, const uint16_t *packed, float *logits, int64_t R, int64_t V, int64_t H,
             int threads) {
  int64_t panels = (V + PANEL - 1) / PANEL;
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t number = 0; number < panels; number++) {
    int64_t first = number * PANEL, row = 0;
    int columns = (int)(V - first < PANEL ? V - first : PANEL);
    const uint16_t *panel = packed + number * H * PANEL;
    for (; row + ROWS <= R; row += ROWS) tile(hidden + row * H, panel, logits + row * V + first, H, V, ROWS, columns);
    for (; row < R; row++) tile(hidden + row * H, panel, logits + row * V + first, H, V, 1, columns);
  }
}

/* --- log-sum-exp ---------------------------------------------------------------------------------------------------- */

/* e^x for x <= 0, to float32's precision; NaN stays NaN. */
static inline __m512 exponential(__m512 x) {
  x = _mm512_max_ps(_mm512_set1_ps(-104.0f), x); /* below it e^x is 0; this order of arguments keeps NaN */
  __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)), 8);
  __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693145752f), x); /* ln 2 in two parts */
  r = _mm512_fnmadd_ps(n, _mm512_set1_ps(1.42860677e-6f), r);
  __m512 p = _mm512_set1_ps(1.0f / 5040); /* Taylor, |r| <= ln 2 / 2 */
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 720));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 120));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 24));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 6));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.5f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
  return _mm512_scalef_ps(p, n);
}

/* logits [R, V] -> log(sum(exp)) [R] */
void log_sum_exp(const float *logits, float *result, int64_t R, int64_t V, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t row = 0; row < R; row++) {
    const float *x = logits + row * V;
    __m512 most = _mm512_set1_ps(-INFINITY);
    for (int64_t v = 0; v < V; v += 16)
      most = _mm512_max_ps(most, _mm512_mask_loadu_ps(most, LANES(V - v), x + v));
    float largest = _mm512_reduce_max_ps(most);
    double total = 0;
    for (int64_t block = 0; block < V; block += BLOCK) { /* float32 sums of a block, float64 sum of blocks */
      int64_t stop = block + BLOCK < V ? block + BLOCK : V;
      __m512 sum = _mm512_setzero_ps();
      for (int64_t v = block; v < stop; v += 16) {
        __mmask16 lanes = LANES(stop - v);
        __m512 part = exponential(_mm512_sub_ps(_mm512_maskz_loadu_ps(lanes, x + v), _mm512_set1_ps(largest)));
        sum = _mm512_mask_add_ps(sum, lanes, sum, part);
      }
      total += _mm512_reduce_add_ps(sum);
    }
    result[row] = largest + (float)log(total);
  }
}

/* --- the top K of a row --------------------------------------------------------------------------------------------- */

/* Insert into a list of at most K, largest first; of equals the one that came first stays in front. */
static inline int64_t insert(float value, int32_t id, float *values, int32_t *ids, int64_t held, int64_t K) {
  if (held == K && !(value > values[K - 1])) return held;
  int64_t low = 0, high = held;
  while (low < high) {
    int64_t middle = (low + high) / 2;
    if (values[middle] >= value) low = middle + 1;
    else high = middle;
  }
  int64_t moved = (held < K ? held : K - 1) - low;
  memmove(values + low + 1, values + low, moved * sizeof *values);
  memmove(ids + low + 1, ids + low, moved * sizeof *ids);
  values[low] = value;
  ids[low] = id;
  return held < K ? held + 1 : K;
}

/* logits [R, V], rows [M] -> the K largest of these rows, largest first: values [M, K], ids [M, K]; K <= V */
void top(const float *logits, const int64_t *rows, float *values, int32_t *ids, int64_t M, int64_t V, int64_t K,
         int threads) {
#pragma omp parallel for num_threads(threads) schedule(dynamic, 4)
  for (int64_t m = 0; m < M; m++) {
    const float *x = logits + rows[m] * V;
    int64_t held = 0;
    for (int64_t v = 0; v < V; v += 16) {
      __mmask16 lanes = LANES(V - v);
      __m512 part = _mm512_maskz_loadu_ps(lanes, x + v);
      if (held == K) lanes = _mm512_mask_cmp_ps_mask(lanes, part, _mm512_set1_ps(values[m * K + K - 1]), _CMP_GT_OQ);
      for (; lanes; lanes &= lanes - 1) {
        int64_t id = v + __builtin_ctz(lanes);
        held = insert(x[id], (int32_t)id, values + m * K, ids + m * K, held, K);
      }
    }
  }
}

/* --- GELU, tanh form, of bfloat16 numbers ----------------------------------------------------------------------------- */

/* x [count] -> result [count]: x / (1 + e^-2u), u = sqrt(2 / pi) (x + 0.044715 x^3), which is the tanh form */
void gelu(const uint16_t *x, uint16_t *result, int64_t count, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t first = 0; first < count; first += BLOCK) {
    int64_t stop = first + BLOCK < count ? first + BLOCK : count;
    for (int64_t i = first; i < stop; i += 16) {
      __mmask16 lanes = LANES(stop - i);
      __m512i bits = _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, x + i)), 16);
      __m512 v = _mm512_castsi512_ps(bits);
      __m512 cubic = _mm512_fmadd_ps(_mm512_mul_ps(_mm512_mul_ps(v, v), v), _mm512_set1_ps(0.044715f), v);
      __m512 twice = _mm512_mul_ps(cubic, _mm512_set1_ps(1.59576912f)); /* 2u */
      __m512 small = exponential(_mm512_sub_ps(_mm512_setzero_ps(), _mm512_abs_ps(twice)));
      __m512 one = _mm512_set1_ps(1.0f);
      __mmask16 negative = _mm512_cmp_ps_mask(twice, _mm512_setzero_ps(), _CMP_LT_OQ);
      __m512 numerator = _mm512_mask_mul_ps(v, negative, v, small); /* x e^2u / (1 + e^2u) where u < 0 */
      __m512 value = _mm512_div_ps(numerator, _mm512_add_ps(one, small));
      _mm256_mask_storeu_epi16(result + i, lanes, (__m256i)_mm512_cvtneps_pbh(value));
    }
  }
}
