// A context for standalone tests and benchmarks of kernels: a plain thread pool, no Node.
#pragma once

#include <atomic>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "../src/kernel.h"

namespace simdgrad {

class SimpleContext : public Context {
 public:
  explicit SimpleContext(int threads) : threads_(threads), scratch_(1 + threads) {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
  }
  ~SimpleContext() override {
    stop_ = true;  // before what wakes them: a worker that did not see it would sleep for ever
    generation_.fetch_add(1);
    generation_.notify_all();
    for (std::thread& t : workers_) t.join();
    for (Scratch& s : scratch_) std::free(s.data);
  }

  int threads() const override { return threads_; }
  void parallel(int64_t tasks, Task fn, void* arg, double) override {
    if (tasks <= 1 || threads_ == 1) {
      for (int64_t i = 0; i < tasks; ++i) fn(arg, i, 0);
      return;
    }
    fn_ = fn;
    arg_ = arg;
    tasks_ = tasks;
    next_ = 0;
    running_ = threads_ - 1;
    generation_.fetch_add(1);
    generation_.notify_all();
    run(0);
    for (int spin = 0; running_.load() > 0; ++spin) {
      if (spin > 20000) std::this_thread::yield();
    }
  }
  void* scratch(int worker, size_t bytes) override {
    Scratch& s = scratch_[1 + worker];
    if (bytes > s.size) {
      std::free(s.data);
      s.size = (bytes + 4095) / 4096 * 4096;
      s.data = std::aligned_alloc(4096, s.size);
    }
    return s.data;
  }
  const CacheSizes& cache() const override { return cache_; }
  void set_cache(CacheSizes c) { cache_ = c; }
  bool fail_index(const char*, int64_t, int64_t, int64_t) override { return false; }
  bool fail_memory(const char*) override { return false; }

 private:
  struct Scratch {
    void* data = nullptr;
    size_t size = 0;
  };
  void run(int worker) {
    for (int64_t i; (i = next_.fetch_add(1)) < tasks_;) fn_(arg_, i, worker);
  }
  void work(int worker) {
    for (int seen = 0;;) {
      for (int spin = 0; spin < 20000 && generation_.load() == seen; ++spin) {
      }
      generation_.wait(seen);
      seen = generation_.load();
      if (stop_) return;
      run(worker);
      running_.fetch_sub(1);
    }
  }

  int threads_;
  CacheSizes cache_;
  std::vector<Scratch> scratch_;
  std::vector<std::thread> workers_;
  std::atomic<int> generation_{0}, running_{0};
  std::atomic<bool> stop_{false};
  std::atomic<int64_t> next_{0};
  int64_t tasks_ = 0;
  Task fn_ = nullptr;
  void* arg_ = nullptr;
};

// The targets that run on this machine.
struct Target {
  const char* name;
  KernelTable table;
};
inline std::vector<Target> runnable_targets() {
  std::vector<Target> targets(1);
  targets[0].name = "baseline";
  baseline::fill_table(targets[0].table);
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    targets.push_back({"avx2", targets.back().table});
    avx2::fill_table(targets.back().table);
  }
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) {
    targets.push_back({"avx512", targets.back().table});
    avx512::fill_table(targets.back().table);
  }
#endif
  return targets;
}

}  // namespace simdgrad
