// The thread pool of an environment, and the contexts that calls run in.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "kernel.h"

namespace simdgrad {

constexpr int kMaxThreads = 256;

// Helper threads that run the tasks of one caller at a time. Helpers are created on first use; between jobs
// they stay awake for a fifth of a millisecond, then sleep. They are woken for jobs that take long, and for
// short ones where many follow each other. The caller works too and never waits for a helper that has not
// woken up yet, so a job on a busy machine is no slower than a serial one.
class Pool {
 public:
  explicit Pool(int threads);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int threads() const { return threads_.load(std::memory_order_relaxed); }
  // Waits for the job in progress. From any thread but a helper's.
  void resize(int threads);
  // Runs every task and returns. At most `limit` workers take part. Where another caller has the pool, or it
  // is closed, this thread does all tasks as worker 0. Tasks must not call run() themselves. `ns`: about how
  // long one thread takes for all of them.
  void run(int64_t tasks, Context::Task fn, void* arg, double ns, int limit);
  // Ends the helpers for good and waits for them.
  void close();

 private:
  struct Helper;
  // The tasks of a job that a worker begins with, on one line with all else that it needs to begin: where one
  // thread reads what another has just written it waits for some 70 ns, line by line.
  struct alignas(64) Share {
    // [epoch:32 | closed:1 | joined:1 | next:30]. Whoever takes a task adds one. A helper joins before
    // its first, unless the caller has closed its share; the caller waits for those that have joined.
    std::atomic<uint64_t> state{0};
    int64_t first = 0, count = 0;
    Context::Task fn = nullptr;  // null: the helper ends
    std::atomic<void*> arg{nullptr};
    int participants = 0;
    bool one_each = false;
  };
  struct alignas(64) Done {
    std::atomic<uint32_t> epoch{0};   // the last job that this helper took part in
    std::atomic<uint32_t> asleep{0};  // 1 while it sleeps and has not been woken
  };

  static void* helper_main(void* helper);
  void help(int worker, uint32_t seen);
  bool take(int worker, Share& share, uint32_t epoch);
  void drain(int worker, uint32_t epoch, int participants, bool one_each);
  int awake(int workers) const;
  bool worth_waking(double ns);
  void wake(int worker);
  void spawn(int count);
  void stop_helpers();
  void lock();
  void unlock() { busy_.clear(std::memory_order_release); }

  Share shares_[kMaxThreads];  // by worker; the caller is worker 0
  Done done_[kMaxThreads];
  alignas(64) std::atomic_flag busy_ = ATOMIC_FLAG_INIT;
  std::atomic<int> threads_;
  uint32_t epoch_ = 0;  // under busy_: counts jobs
  // Under busy_, in nanoseconds: the work of jobs that follow each other, that of those before the last
  // pause, and when a job last found a helper asleep.
  double work_ = 0, last_work_ = 0;
  int64_t found_asleep_ = 0;
  bool closed_ = false;        // under busy_
  int spawned_ = 0;            // under busy_
  bool spawn_failed_ = false;  // under busy_: the machine gave no more threads
  Helper* helpers_ = nullptr;  // under busy_
  std::atomic<bool> spins_;    // whether who waits stays awake for a while
};

// What one caller runs kernels in: its own scratch memory and error. Callers on different threads use
// different contexts over one pool.
class CallContext final : public Context {
 public:
  explicit CallContext(Pool* pool) : pool_(pool) {}
  ~CallContext() override;
  CallContext(const CallContext&) = delete;
  CallContext& operator=(const CallContext&) = delete;

  // Before each call: forgets the last error and fixes the number of workers for its duration.
  void begin();

  int threads() const override { return threads_; }
  void parallel(int64_t tasks, Task fn, void* arg, double ns) override;
  void* scratch(int worker, size_t bytes) override;
  const CacheSizes& cache() const override;
  bool fail_index(const char* kernel, int64_t index, int64_t position, int64_t bound) override;
  bool fail_memory(const char* kernel) override;

  // Memory aligned to cache lines; null when there is none.
  static void* allocate_block(size_t bytes);
  static void release_block(void* block);

  // The error that was recorded: its code, and the message in `text`.
  const char* error(char* text, size_t size) const;

  CallContext* next = nullptr;  // for lists of idle contexts

 private:
  enum class Kind : uint8_t { none, index, memory };
  struct Scratch {
    void* data = nullptr;
    size_t bytes = 0;
  };

  void lock();

  Pool* pool_;
  int threads_ = 1;
  Kind kind_ = Kind::none;
  const char* kernel_ = "";
  int64_t index_ = 0, position_ = 0, bound_ = 0;
  std::atomic_flag lock_ = ATOMIC_FLAG_INIT;
  Scratch scratch_[1 + kMaxThreads];  // the shared one first
};

}  // namespace simdgrad
