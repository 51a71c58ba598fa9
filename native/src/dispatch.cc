#include "dispatch.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "context.h"
#include "targets.h"

#if SIMDGRAD_X86
#if defined(_MSC_VER)
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#endif

#if defined(__linux__)
#include <sched.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#include <unistd.h>
#elif defined(_WIN32)
#include <windows.h>
#endif

namespace simdgrad {
namespace {

#if SIMDGRAD_X86
struct Registers {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Registers cpuid(unsigned leaf, unsigned subleaf = 0) {
  Registers r;
#if defined(_MSC_VER)
  int highest[4], out[4];
  __cpuid(highest, static_cast<int>(leaf & 0x80000000u));
  if (static_cast<unsigned>(highest[0]) < leaf) return r;
  __cpuidex(out, static_cast<int>(leaf), static_cast<int>(subleaf));
  r = {static_cast<unsigned>(out[0]), static_cast<unsigned>(out[1]), static_cast<unsigned>(out[2]),
       static_cast<unsigned>(out[3])};
#else
  if (!__get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx)) return {};
#endif
  return r;
}

uint64_t xcr0() {
#if defined(_MSC_VER)
  return _xgetbv(0);
#else
  unsigned low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
#endif
}

constexpr bool has(unsigned reg, int bit) { return (reg >> bit) & 1; }
#endif

struct Support {
  bool runs[kIsas] = {true, false, false};
  Support() {
#if SIMDGRAD_X86
    const Registers basic = cpuid(1);
    if (!has(basic.ecx, 27)) return;  // OSXSAVE: without it there is no xgetbv
    const uint64_t saved = xcr0();
    const Registers extended = cpuid(7);
    const bool ymm = (saved & 0x06) == 0x06;  // xmm and ymm
    const bool zmm = (saved & 0xe6) == 0xe6;  // and mask registers, both parts of zmm
    const bool avx = has(basic.ecx, 28), fma = has(basic.ecx, 12), avx2 = has(extended.ebx, 5);
    const bool f = has(extended.ebx, 16), dq = has(extended.ebx, 17), bw = has(extended.ebx, 30),
               vl = has(extended.ebx, 31);
    runs[1] = ymm && avx && fma && avx2;
    runs[2] = runs[1] && zmm && f && dq && bw && vl;
#endif
  }
};

struct Tables {
  KernelTable of[kIsas];
  Tables() {
    for (int i = 0; i < kIsas; i++) {
      baseline::fill_table(of[i]);
      if (i >= 1) avx2::fill_table(of[i]);
      if (i >= 2) avx512::fill_table(of[i]);
    }
  }
};

#if defined(__linux__)
// The first line of a small file of /sys; false where there is none.
bool read_line(const char* path, char* line, int size) {
  FILE* file = fopen(path, "re");
  if (file == nullptr) return false;
  const bool ok = fgets(line, size, file) != nullptr;
  fclose(file);
  if (ok) line[strcspn(line, "\n")] = 0;
  return ok;
}
#endif

void keep(int level, int64_t bytes, CacheSizes* cache) {
  if (bytes <= 0) return;
  if (level == 1) cache->l1 = bytes;
  if (level == 2) cache->l2 = bytes;
  if (level == 3) cache->l3 = bytes;
}

void find_caches(CacheSizes* cache) {
#if defined(__linux__)
  bool found = false;
  for (int i = 0; i < 8; i++) {
    char path[96], text[32];
    const char* base = "/sys/devices/system/cpu/cpu0/cache/index";
    snprintf(path, sizeof path, "%s%d/type", base, i);
    if (!read_line(path, text, sizeof text)) break;
    if (strcmp(text, "Instruction") == 0) continue;
    snprintf(path, sizeof path, "%s%d/level", base, i);
    if (!read_line(path, text, sizeof text)) break;
    const int level = atoi(text);
    snprintf(path, sizeof path, "%s%d/size", base, i);
    if (!read_line(path, text, sizeof text)) break;
    char* unit;
    int64_t bytes = strtoll(text, &unit, 10);
    if (*unit == 'K') bytes <<= 10;
    if (*unit == 'M') bytes <<= 20;
    keep(level, bytes, cache);
    found = true;
  }
  if (found) return;
#elif defined(__APPLE__)
  const char* names[3][2] = {{"hw.perflevel0.l1dcachesize", "hw.l1dcachesize"},
                             {"hw.perflevel0.l2cachesize", "hw.l2cachesize"},
                             {"hw.perflevel0.l3cachesize", "hw.l3cachesize"}};
  for (int level = 0; level < 3; level++) {
    for (const char* name : names[level]) {
      int64_t bytes = 0;
      size_t size = sizeof bytes;
      if (sysctlbyname(name, &bytes, &size, nullptr, 0) == 0 && bytes > 0) {
        keep(level + 1, bytes, cache);
        break;
      }
    }
  }
  return;
#endif
#if SIMDGRAD_X86
  // Deterministic cache parameters: leaf 4 (Intel) or 0x8000001d (AMD), one subleaf per cache.
  for (unsigned leaf : {4u, 0x8000001du}) {
    for (unsigned i = 0; i < 8; i++) {
      const Registers r = cpuid(leaf, i);
      const unsigned type = r.eax & 31;
      if (type == 0) break;
      if (type == 2) continue;  // instructions
      const int64_t ways = (r.ebx >> 22) + 1, parts = ((r.ebx >> 12) & 1023) + 1, line = (r.ebx & 4095) + 1;
      keep(static_cast<int>((r.eax >> 5) & 7), ways * parts * line * (int64_t{r.ecx} + 1), cache);
    }
  }
#endif
}

#if defined(__linux__)
// Whether the processor is the first in the set of those that share its core: ranges in ascending order, as
// in "0-1" or "0,64".
bool first_of_core(const char* sharing, int processor, const cpu_set_t* set, size_t bytes) {
  for (const char* text = sharing; *text >= '0' && *text <= '9';) {
    char* end;
    const long from = strtol(text, &end, 10), to = *end == '-' ? strtol(end + 1, &end, 10) : from;
    for (long i = from; i <= to && i < processor; i++) {
      if (CPU_ISSET_S(static_cast<size_t>(i), bytes, set)) return false;
    }
    text = *end == ',' ? end + 1 : end;
  }
  return true;
}
#endif

// How many threads this process may run at once, and on how many cores.
void count_processors(int* processors, int* cores) {
#if defined(__linux__)
  *processors = *cores = 0;
  // The system refuses a set that is smaller than its own.
  for (int most = CPU_SETSIZE; *processors == 0 && most <= 1 << 16; most *= 2) {
    cpu_set_t* const set = CPU_ALLOC(static_cast<size_t>(most));
    if (set == nullptr) break;
    const size_t bytes = CPU_ALLOC_SIZE(static_cast<size_t>(most));
    if (sched_getaffinity(0, bytes, set) == 0) {
      for (int i = 0; i < most; i++) {
        if (!CPU_ISSET_S(static_cast<size_t>(i), bytes, set)) continue;
        ++*processors;
        char path[80], sharing[128];
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", i);
        *cores += !read_line(path, sharing, sizeof sharing) || first_of_core(sharing, i, set, bytes);
      }
    }
    CPU_FREE(set);
  }
  // A container's quota: "quota period" or "max period" (cgroup v2).
  char line[64];
  if (read_line("/sys/fs/cgroup/cpu.max", line, sizeof line) && line[0] != 'm') {
    char* end;
    const long long quota = strtoll(line, &end, 10), period = strtoll(end, nullptr, 10);
    const long long most = quota > 0 && period > 0 ? (quota + period - 1) / period : kMaxThreads;
    for (int* count : {processors, cores}) {
      if (most < *count) *count = static_cast<int>(most);
    }
  }
#elif defined(_WIN32)
  // A process that is held to some processors of a group; else all of all groups.
  DWORD_PTR own = 0, all = 0;
  if (GetProcessAffinityMask(GetCurrentProcess(), &own, &all) && own != 0 && own != all) {
    for (*processors = 0; own != 0; own &= own - 1) ++*processors;
  } else {
    *processors = static_cast<int>(GetActiveProcessorCount(ALL_PROCESSOR_GROUPS));
  }
  *cores = *processors;
#elif defined(__APPLE__)
  size_t size = sizeof *cores;
  if (sysctlbyname("hw.perflevel0.physicalcpu", cores, &size, nullptr, 0) != 0 || *cores <= 0) {
    *cores = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  }
  *processors = *cores;
#else
  *processors = *cores = 1;
#endif
  if (*processors < 1) *processors = *cores = 1;
}

void find_cpu_name(char* out, size_t size) {
  snprintf(out, size, "unknown");
#if SIMDGRAD_X86
  unsigned words[13] = {};
  for (unsigned i = 0; i < 3; i++) {
    const Registers r = cpuid(0x80000002u + i);
    const unsigned part[4] = {r.eax, r.ebx, r.ecx, r.edx};
    memcpy(words + 4 * i, part, sizeof part);
  }
  const char* text = reinterpret_cast<const char*>(words);
  while (*text == ' ') text++;
  if (*text != 0) snprintf(out, size, "%s", text);
  for (size_t n = strlen(out); n > 0 && out[n - 1] == ' '; n--) out[n - 1] = 0;
#elif defined(__APPLE__)
  sysctlbyname("machdep.cpu.brand_string", out, &size, nullptr, 0);
#elif SIMDGRAD_ARM64
  snprintf(out, size, "ARM64");
#endif
}

const Support& support() {
  static const Support found;
  return found;
}

}  // namespace

const char* isa_name(Isa isa) {
  static const char* const names[kIsas] = {"baseline", "avx2", "avx512"};
  return names[static_cast<int>(isa)];
}

bool isa_runs(Isa isa) { return support().runs[static_cast<int>(isa)]; }

Isa default_isa() {
  int best = 0;
  const char* wanted = getenv("SIMDGRAD_ISA");
  for (int i = 0; i < kIsas; i++) {
    const Isa isa = static_cast<Isa>(i);
    if (!isa_runs(isa)) continue;
    if (wanted != nullptr && strcmp(wanted, isa_name(isa)) == 0) return isa;
    best = i;
  }
  return static_cast<Isa>(best);
}

const KernelTable& kernel_table(Isa isa) {
  static const Tables tables;
  return tables.of[static_cast<int>(isa)];
}

// As Linux gives them out on request (madvise), where nobody has switched that off.
int64_t find_large_page() {
#if defined(__linux__)
  char text[64];
  if (!read_line("/sys/kernel/mm/transparent_hugepage/enabled", text, sizeof text)) return 0;
  if (strstr(text, "[never]") != nullptr) return 0;
  if (!read_line("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", text, sizeof text)) return 0;
  const int64_t bytes = strtoll(text, nullptr, 10);
  return bytes <= kLargestPage ? bytes : 0;
#else
  return 0;
#endif
}

const Machine& machine() {
  static const Machine found = [] {
    Machine m = {};
    m.cache = CacheSizes{};
    find_cpu_name(m.cpu, sizeof m.cpu);
    find_caches(&m.cache);
    m.large_page = find_large_page();
    // One thread for each core: two on the halves of one are together no faster, and slower than one where
    // both wait for the same caches.
    count_processors(&m.processors, &m.threads);
    const char* wanted = getenv("SIMDGRAD_THREADS");
    if (wanted != nullptr && atoi(wanted) >= 1) m.threads = atoi(wanted);
    if (m.threads > kMaxThreads) m.threads = kMaxThreads;
    return m;
  }();
  return found;
}

}  // namespace simdgrad
