// The thread pool of an environment, and the contexts that calls run in.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "kernel.h"

namespace simdgrad {

constexpr int kMaxThreads = 256;

// Helper threads that run the tasks of one caller at a time. Helpers are created on first use; between jobs
// they stay awake for a fifth of a millisecond, then sleep. The caller works too and never waits for a helper
// that has not woken up yet, so a job on a busy machine is no slower than a serial one.
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
  // is closed, this thread does all tasks as worker 0. Tasks must not call run() themselves.
  void run(int64_t tasks, Context::Task fn, void* arg, int limit);
  // Ends the helpers for good and waits for them.
  void close();

 private:
  struct Helper;
  struct alignas(64) Range {
    std::atomic<int64_t> next{0};
    int64_t end = 0;
  };

  static void* helper_main(void* helper);
  void help(int worker, uint32_t seen);
  void drain(int worker);
  void spawn(int count);
  void stop_helpers();
  void lock();
  void unlock() { busy_.clear(std::memory_order_release); }

  // The job. Written by the caller before the ticket opens it.
  Context::Task fn_ = nullptr;
  void* arg_ = nullptr;
  int participants_ = 0;
  Range ranges_[kMaxThreads];

  // [epoch:32 | participants:16 | closed:1 | joined:15]. A helper joins by adding one while the job is open;
  // the caller closes it when no task is left and then waits for those who had joined.
  alignas(64) std::atomic<uint64_t> ticket_{0};
  alignas(64) std::atomic<uint32_t> epoch_{0};  // what sleeping helpers wait on
  alignas(64) std::atomic<uint32_t> left_{0};   // helpers that have finished with the job
  alignas(64) std::atomic_flag busy_ = ATOMIC_FLAG_INIT;
  std::atomic<int> threads_;
  std::atomic<bool> stop_{false};
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
  void parallel(int64_t tasks, Task fn, void* arg) override;
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
