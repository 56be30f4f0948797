/* logits = hidden x weights^T with bfloat16 operands and float32 results, for processors with AVX-512 BF16.
 *
 * PyTorch's product of bfloat16 matrices on a CPU returns bfloat16, which is too coarse for logits, and its float32
 * product runs at half the rate. Compiled and called by compiled_head.py.
 *
 * Weights are packed once: panels of 64 vocabulary entries, inside a panel pairs of hidden units, which is how the
 * instruction wants them. A tile of 6 rows and 64 entries stays in registers over all hidden units.
 */
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

enum { PANEL = 64, VECTORS = PANEL / 16, ROWS = 6 };

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
      __mmask16 mask = left >= 16 ? 0xFFFF : left > 0 ? (__mmask16)((1u << left) - 1) : 0;
      _mm512_mask_storeu_ps(out + row * V + 16 * vector, mask, sum[row][vector]);
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
