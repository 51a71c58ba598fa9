// A peer of npm run bench:peers: the single-precision products of OpenBLAS, BLIS or oneDNN, or the floor.
//
//   blas openblas|blis|onednn|floor THREADS
//
// The floor is what no library can pass: the multiply-add peak of the cores, and plain loops over memory with
// the traffic of an optimizer step or of reading all weights once. The library is found by dlopen, so this
// program builds and starts without any. The protocol is that of serve.mjs.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../native/bench/peak.h"

typedef void (*CblasSgemm)(int, int, int, int, int, int, float, const float*, int, const float*, int, float,
                           float*, int);
typedef int (*DnnlSgemm)(char, char, int64_t, int64_t, int64_t, float, const float*, int64_t, const float*,
                         int64_t, float, float*, int64_t);

enum Kind { kNothing, kProduct, kPeak, kAdam, kSgdMomentum, kRead };

// One prepared case: up to four arrays and what to do with them.
typedef struct {
  enum Kind kind;
  int64_t m, n, k;
  int ta, tb;
  float* memory[4];
} Case;

enum { kMaxCases = 64, kMaxThreads = 256 };
static Case cases[kMaxCases];
static int threads = 1;
static CblasSgemm cblas_sgemm = NULL;
static DnnlSgemm dnnl_sgemm = NULL;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void reply(const char* format, ...) {
  va_list args;
  va_start(args, format);
  fputs("> ", stdout);
  vprintf(format, args);
  va_end(args);
  putchar('\n');
  fflush(stdout);
}

// ---- the libraries ----

static void* open_first(const char* const* names) {
  for (; *names; ++names) {
    void* library = dlopen(*names, RTLD_NOW | RTLD_LOCAL);
    if (library) return library;
  }
  return NULL;
}

#if defined(__x86_64__)
#define MULTIARCH "/usr/lib/x86_64-linux-gnu/"
#else
#define MULTIARCH "/usr/lib/aarch64-linux-gnu/"
#endif

// Loads the library and says what it is, or says what is missing and returns 0.
static int load(const char* name) {
  static const char* const openblas[] = {MULTIARCH "openblas-openmp/libopenblas.so.0", "libopenblas.so.0",
                                         NULL};
  static const char* const blis[] = {MULTIARCH "blis-openmp/libblis.so.4", "libblis.so.4", NULL};
  static const char* const onednn[] = {"libdnnl.so.3", "libdnnl.so.2", NULL};
  char version[256] = "";
  if (strcmp(name, "openblas") == 0) {
    void* library = open_first(openblas);
    if (!library) return reply("missing\tlibopenblas.so.0 was not found"), 0;
    const char* (*config)(void) = (const char* (*)(void))dlsym(library, "openblas_get_config");
    void (*set)(int) = (void (*)(int))dlsym(library, "openblas_set_num_threads");
    cblas_sgemm = (CblasSgemm)dlsym(library, "cblas_sgemm");
    if (set) set(threads);
    // "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH ...": the name and the version.
    if (config) sscanf(config(), "OpenBLAS %200s", version);
  } else if (strcmp(name, "blis") == 0) {
    void* library = open_first(blis);
    if (!library) return reply("missing\tlibblis.so.4 was not found"), 0;
    const char* (*of)(void) = (const char* (*)(void))dlsym(library, "bli_info_get_version_str");
    void (*set)(int64_t) = (void (*)(int64_t))dlsym(library, "bli_thread_set_num_threads");
    cblas_sgemm = (CblasSgemm)dlsym(library, "cblas_sgemm");
    if (set) set(threads);
    if (of) snprintf(version, sizeof version, "%s", of());
  } else if (strcmp(name, "onednn") == 0) {
    typedef struct {
      int major, minor, patch;
    } Version;
    void* library = open_first(onednn);
    if (!library) return reply("missing\tlibdnnl.so was not found"), 0;
    const Version* (*of)(void) = (const Version* (*)(void))dlsym(library, "dnnl_version");
    dnnl_sgemm = (DnnlSgemm)dlsym(library, "dnnl_sgemm");
    if (of) snprintf(version, sizeof version, "%d.%d.%d", of()->major, of()->minor, of()->patch);
  } else if (strcmp(name, "floor") == 0) {
    snprintf(version, sizeof version, "%s", peak_isa());
  } else {
    return reply("missing\tthere is no library %s", name), 0;
  }
  if (strcmp(name, "floor") != 0 && !cblas_sgemm && !dnnl_sgemm) {
    return reply("missing\tthe library has no sgemm"), 0;
  }
  reply("ready\t%s", version);
  return 1;
}

static void product(const Case* c) {
  const int64_t lda = c->ta ? c->m : c->k, ldb = c->tb ? c->k : c->n;
  if (cblas_sgemm) {
    cblas_sgemm(101, c->ta ? 112 : 111, c->tb ? 112 : 111, (int)c->m, (int)c->n, (int)c->k, 1, c->memory[0],
                (int)lda, c->memory[1], (int)ldb, 0, c->memory[2], (int)c->n);
  } else {
    dnnl_sgemm(c->ta ? 'T' : 'N', c->tb ? 'T' : 'N', c->m, c->n, c->k, 1, c->memory[0], lda, c->memory[1],
               ldb, 0, c->memory[2], c->n);
  }
}

// ---- the floor ----

static void adam(int64_t n, float* restrict p, const float* restrict g, float* restrict m,
                 float* restrict v) {
  for (int64_t i = 0; i < n; ++i) {
    m[i] = 0.9f * m[i] + 0.1f * g[i];
    v[i] = 0.999f * v[i] + 0.001f * g[i] * g[i];
    p[i] -= 1e-3f * m[i] / (sqrtf(v[i]) + 1e-8f);
  }
}

static void sgd_momentum(int64_t n, float* restrict p, const float* restrict g, float* restrict m) {
  for (int64_t i = 0; i < n; ++i) {
    m[i] = 0.9f * m[i] + g[i];
    p[i] -= 1e-3f * m[i];
  }
}

// Reads everything once; eight sums so that additions do not bind.
static float read_all(int64_t n, const float* p) {
  typedef float V __attribute__((vector_size(64), aligned(4)));
  V s[8] = {{0}};
  float total = 0;
  int64_t i = 0;
  for (; i + 128 <= n; i += 128) {
    for (int j = 0; j < 8; ++j) s[j] += *(const V*)(p + i + 16 * j);
  }
  for (; i < n; ++i) total += p[i];
  for (int j = 0; j < 8; ++j) total += s[j][0];
  return total;
}

typedef struct {
  const Case* c;
  int64_t calls;
  int worker;
} Share;

// One worker's part of all calls. Workers do not wait for each other between calls: a floor pays for no
// threads.
static void* run_share(void* arg) {
  const Share* s = arg;
  const Case* c = s->c;
  const int64_t from = c->n * s->worker / threads, n = c->n * (s->worker + 1) / threads - from;
  volatile float sink = 0;
  if (c->kind == kPeak) {
    sink = (float)peak_flops(peak_isa(), s->calls * 1000);
    return NULL;
  }
  for (int64_t i = 0; i < s->calls; ++i) {
    if (c->kind == kAdam) {
      adam(n, c->memory[0] + from, c->memory[1] + from, c->memory[2] + from, c->memory[3] + from);
    } else if (c->kind == kSgdMomentum) {
      sgd_momentum(n, c->memory[0] + from, c->memory[1] + from, c->memory[2] + from);
    } else {
      sink += read_all(n, c->memory[0] + from);
    }
  }
  return NULL;
}

static double run(const Case* c, int64_t calls) {
  const double start = now();
  if (c->kind == kProduct) {
    for (int64_t i = 0; i < calls; ++i) product(c);
    return now() - start;
  }
  pthread_t ids[kMaxThreads];
  Share shares[kMaxThreads];
  for (int w = 0; w < threads; ++w) shares[w] = (Share){c, calls, w};
  int started = 1;
  while (started < threads && pthread_create(&ids[started], NULL, run_share, &shares[started]) == 0)
    ++started;
  run_share(&shares[0]);
  for (int w = 1; w < started; ++w) pthread_join(ids[w], NULL);
  for (int w = started; w < threads; ++w) run_share(&shares[w]);
  return now() - start;
}

// ---- the protocol ----

// Random values in [0.5, 1.5): no denormal numbers however often a loop runs.
static float* fresh(int64_t n) {
  static uint32_t state = 1;
  float* p = aligned_alloc(64, (size_t)((n * 4 + 63) / 64 * 64));
  for (int64_t i = 0; p && i < n; ++i) {
    state = state * 1664525u + 1013904223u;
    p[i] = 0.5f + (float)(state >> 8) * 0x1p-24f;
  }
  return p;
}

static void drop(Case* c) {
  for (int i = 0; i < 4; ++i) free(c->memory[i]);
  memset(c, 0, sizeof *c);
}

static int allocate(Case* c, const int64_t sizes[4]) {
  for (int i = 0; i < 4; ++i) {
    if (sizes[i] > 0 && !(c->memory[i] = fresh(sizes[i]))) return 0;
  }
  return 1;
}

// make ID product M N K FORM | make ID peak | make ID optimizer adam|sgdMomentum N | make ID read N
static void make(const char* line) {
  int id;
  char kind[32], word[32];
  long m, n, k;
  if (sscanf(line, "make %d %31s", &id, kind) != 2 || id < 0 || id >= kMaxCases) {
    reply("no\tnot a case: %s", line);
    return;
  }
  Case* c = &cases[id];
  drop(c);
  const int library = cblas_sgemm || dnnl_sgemm;
  int ok = 1;
  if (library && sscanf(line, "make %*d product %ld %ld %ld %31s", &m, &n, &k, word) == 4) {
    *c = (Case){.kind = kProduct, .m = m, .n = n, .k = k, .ta = word[0] == 'T', .tb = word[1] == 'T'};
    ok = allocate(c, (int64_t[4]){m * k, k * n, m * n, 0});
  } else if (!library && strcmp(kind, "peak") == 0) {
    c->kind = kPeak;
  } else if (!library && sscanf(line, "make %*d optimizer %31s %ld", word, &n) == 2) {
    *c = (Case){.kind = strcmp(word, "adam") == 0 ? kAdam : kSgdMomentum, .n = n};
    ok = allocate(c, (int64_t[4]){n, n, n, c->kind == kAdam ? n : 0});
  } else if (!library && sscanf(line, "make %*d read %ld", &n) == 1) {
    *c = (Case){.kind = kRead, .n = n};
    ok = allocate(c, (int64_t[4]){n, 0, 0, 0});
  } else {
    reply("no\tnot a case of this peer: %s", kind);
    return;
  }
  if (!ok) {
    drop(c);
    reply("no\tout of memory");
    return;
  }
  // The floor in flops: what one call of the peak loop does on all threads.
  if (c->kind == kPeak) {
    reply("ok\t%.0f", peak_flops(peak_isa(), 1000) * threads);
  } else {
    reply("ok");
  }
}

int main(int argc, char** argv) {
  if (argc != 3) {
    fprintf(stderr, "blas openblas|blis|onednn|floor THREADS\n");
    return 2;
  }
  threads = atoi(argv[2]);
  if (threads < 1 || threads > kMaxThreads) return 2;
  if (!load(argv[1])) return 0;
  char line[512];
  while (fgets(line, sizeof line, stdin)) {
    int id;
    long calls;
    line[strcspn(line, "\n")] = 0;
    if (strncmp(line, "make ", 5) == 0) {
      make(line);
    } else if (sscanf(line, "time %d %ld", &id, &calls) == 2 && id >= 0 && id < kMaxCases &&
               cases[id].kind != kNothing) {
      reply("%.9f", run(&cases[id], calls));
    } else if (strcmp(line, "clear") == 0) {
      for (int i = 0; i < kMaxCases; ++i) drop(&cases[i]);
      reply("ok");
    } else {
      reply("no\tnot a command: %s", line);
    }
  }
  return 0;
}
