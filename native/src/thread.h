// Threads of the system, and how one of them waits.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>

#include "kernel.h"

#if defined(_WIN32)
#if !defined(NOMINMAX)
#define NOMINMAX
#endif
#if !defined(WIN32_LEAN_AND_MEAN)
#define WIN32_LEAN_AND_MEAN
#endif
#include <process.h>
#include <windows.h>
#else
#include <pthread.h>
#include <sched.h>
#endif
#if defined(__linux__)
#include <sys/prctl.h>
#endif
#if SIMDGRAD_X86
#include <immintrin.h>
#endif

// glibc 2.34 moved these into libc under a new symbol version. The old version is the same function and is
// there on every glibc, so that a binary built on a new system also loads on an old one.
#if defined(__linux__) && defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
#if defined(__x86_64__)
__asm__(".symver pthread_create,pthread_create@GLIBC_2.2.5");
__asm__(".symver pthread_join,pthread_join@GLIBC_2.2.5");
#elif defined(__aarch64__)
__asm__(".symver pthread_create,pthread_create@GLIBC_2.17");
__asm__(".symver pthread_join,pthread_join@GLIBC_2.17");
#endif
#endif

namespace simdgrad {

#if defined(_WIN32)
using Thread = HANDLE;
struct ThreadStart {
  void* (*main)(void*);
  void* arg;
};
inline unsigned __stdcall enter_thread(void* start) {
  const ThreadStart s = *static_cast<ThreadStart*>(start);
  free(start);
  s.main(s.arg);
  return 0;
}
inline bool start_thread(Thread* thread, void* (*main)(void*), void* arg) {
  ThreadStart* start = static_cast<ThreadStart*>(malloc(sizeof(ThreadStart)));
  if (start == nullptr) return false;
  *start = {main, arg};
  *thread = reinterpret_cast<HANDLE>(_beginthreadex(nullptr, 0, enter_thread, start, 0, nullptr));
  if (*thread == nullptr) free(start);
  return *thread != nullptr;
}
inline void join_thread(Thread thread) {
  WaitForSingleObject(thread, INFINITE);
  CloseHandle(thread);
}
inline void yield_thread() { SwitchToThread(); }
#else
using Thread = pthread_t;
inline bool start_thread(Thread* thread, void* (*main)(void*), void* arg) {
  return pthread_create(thread, nullptr, main, arg) == 0;
}
inline void join_thread(Thread thread) { pthread_join(thread, nullptr); }
inline void yield_thread() { sched_yield(); }
#endif

// Names the calling thread, for whoever looks at the process. At most 15 characters.
inline void name_thread([[maybe_unused]] const char* name) {
#if defined(__linux__)
  prctl(PR_SET_NAME, name);
#endif
}

inline void pause_thread() {
#if SIMDGRAD_X86
  _mm_pause();
#elif SIMDGRAD_ARM64 && !defined(_MSC_VER)
  __asm__ volatile("yield");
#endif
}

// What another thread has written comes line by line, unless it is asked for at once. Any address may be
// asked for.
inline void prefetch_lines([[maybe_unused]] const void* p, [[maybe_unused]] int lines) {
  for (int i = 0; i < lines; i++) {
#if SIMDGRAD_X86
    _mm_prefetch(static_cast<const char*>(p) + 64 * i, _MM_HINT_T0);
#elif defined(__GNUC__)
    __builtin_prefetch(static_cast<const char*>(p) + 64 * i);
#endif
  }
}

// For what is held for a moment only. Whoever holds it may wait for this processor.
inline void lock_briefly(std::atomic_flag& flag) {
  for (int i = 0; flag.test_and_set(std::memory_order_acquire); i++) {
    if (i < 64) {
      pause_thread();
    } else {
      yield_thread();
    }
  }
}

// How long a thread that waits stays awake. In nanoseconds, as a pause takes 10 of them on one processor and
// 45 on another; longer than what a step does on one thread, and than JavaScript takes between two kernels.
constexpr int64_t kStayAwake = 200'000;

inline int64_t nanoseconds() {
  using namespace std::chrono;
  return duration_cast<std::chrono::nanoseconds>(steady_clock::now().time_since_epoch()).count();
}

// while (...) if (!spin.more()) sleep;
class Spin {
 public:
  // One that yields lets whoever waits for this processor have it.
  explicit Spin(bool allowed, bool yields = false) : awake_(allowed), yields_(yields) {}
  bool more() {
    if (!awake_) return false;
    pause_thread();
    if (++count_ % 64 != 0) return true;
    const int64_t now = nanoseconds();
    if (end_ == 0) end_ = now + kStayAwake;
    if (yields_) yield_thread();
    return awake_ = now < end_;
  }

 private:
  bool awake_;
  bool yields_;
  unsigned count_ = 0;
  int64_t end_ = 0;
};

}  // namespace simdgrad
