#include "context.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

#include "dispatch.h"
#include "targets.h"
#include "thread.h"

#if defined(_WIN32)
#include <malloc.h>
#endif

namespace simdgrad {
namespace {

#if defined(_WIN32)
void* allocate(size_t bytes) { return _aligned_malloc(bytes, 64); }
void release(void* data) { _aligned_free(data); }
#else
void* allocate(size_t bytes) { return aligned_alloc(64, bytes); }
void release(void* data) { free(data); }
#endif

constexpr uint64_t kClosed = 1 << 15;
constexpr uint64_t kJoined = kClosed - 1;

}  // namespace

struct Pool::Helper {
  Pool* pool;
  int worker;
  uint32_t epoch;  // the last one before it was born
  Thread thread;
};

Pool::Pool(int threads)
    : threads_(threads < 1             ? 1
               : threads > kMaxThreads ? kMaxThreads
                                       : threads),
      spins_(true) {}

Pool::~Pool() { close(); }

void Pool::lock() {
  Spin spin(true);
  while (busy_.test_and_set(std::memory_order_acquire)) {
    if (!spin.more()) yield_thread();
  }
}

void Pool::resize(int threads) {
  lock();
  if (threads < 1) threads = 1;
  if (threads > kMaxThreads) threads = kMaxThreads;
  if (threads - 1 < spawned_) stop_helpers();
  spawn_failed_ = false;
  threads_.store(threads, std::memory_order_relaxed);
  unlock();
}

void Pool::close() {
  lock();
  closed_ = true;
  stop_helpers();
  unlock();
}

void Pool::stop_helpers() {
  if (helpers_ == nullptr) return;
  stop_.store(true);
  epoch_.fetch_add(1);
  epoch_.notify_all();
  for (int i = 0; i < spawned_; i++) join_thread(helpers_[i].thread);
  stop_.store(false);
  spawned_ = 0;
  free(helpers_);
  helpers_ = nullptr;
}

void Pool::spawn(int count) {
  if (helpers_ == nullptr) helpers_ = static_cast<Helper*>(calloc(kMaxThreads, sizeof(Helper)));
  if (helpers_ == nullptr) return;
  // More threads than processors: spinning would only take time from the one that works.
  spins_.store(threads() <= machine().threads, std::memory_order_relaxed);
  while (spawned_ < count && !spawn_failed_) {
    Helper* helper = helpers_ + spawned_;
    helper->pool = this;
    helper->worker = spawned_ + 1;
    helper->epoch = epoch_.load(std::memory_order_relaxed);
    if (start_thread(&helper->thread, helper_main, helper)) {
      spawned_++;
    } else {
      spawn_failed_ = true;  // go on with those there are
    }
  }
}

void* Pool::helper_main(void* arg) {
  const Helper* helper = static_cast<Helper*>(arg);
  char name[16];
  snprintf(name, sizeof name, "simdgrad-%d", helper->worker);
  name_thread(name);
  helper->pool->help(helper->worker, helper->epoch);
  return nullptr;
}

void Pool::help(int worker, uint32_t seen) {
  for (;;) {
    uint32_t epoch = epoch_.load(std::memory_order_acquire);
    for (Spin spin(spins_.load(std::memory_order_relaxed)); epoch == seen && spin.more();) {
      epoch = epoch_.load(std::memory_order_acquire);
    }
    if (epoch == seen) {
      epoch_.wait(seen);
      continue;
    }
    seen = epoch;
    if (stop_.load(std::memory_order_acquire)) return;
    uint64_t ticket = ticket_.load(std::memory_order_acquire);
    for (;;) {
      const int participants = static_cast<int>((ticket >> 16) & 0xffff);
      if (static_cast<uint32_t>(ticket >> 32) != epoch || (ticket & kClosed) != 0 || worker >= participants)
        break;
      if (ticket_.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acq_rel,
                                        std::memory_order_acquire)) {
        drain(worker);
        left_.fetch_add(1, std::memory_order_release);
        left_.notify_one();
        break;
      }
    }
  }
}

// Each worker begins with a range of its own, the same one each time (what it touched last may still be in
// its cache), then helps with the others'.
void Pool::drain(int worker) {
  for (int i = 0, from = worker; i < participants_; i++) {
    Range& range = ranges_[from];
    if (range.next.load(std::memory_order_relaxed) < range.end) {
      for (;;) {
        const int64_t task = range.next.fetch_add(1, std::memory_order_relaxed);
        if (task >= range.end) break;
        fn_(arg_, task, worker);
      }
    }
    if (++from == participants_) from = 0;
  }
}

void Pool::run(int64_t tasks, Context::Task fn, void* arg, int limit) {
  const auto serial = [=] {
    for (int64_t task = 0; task < tasks; task++) fn(arg, task, 0);
  };
  if (tasks <= 1 || limit <= 1 || busy_.test_and_set(std::memory_order_acquire)) return serial();
  int workers = threads();
  if (workers > limit) workers = limit;
  if (workers > tasks) workers = static_cast<int>(tasks);
  if (!closed_ && workers - 1 > spawned_) spawn(threads() - 1);
  if (workers > spawned_ + 1) workers = spawned_ + 1;
  if (workers <= 1 || closed_) {
    unlock();
    return serial();
  }

  fn_ = fn;
  arg_ = arg;
  participants_ = workers;
  const int64_t share = tasks / workers, rest = tasks % workers;
  int64_t begin = 0;
  for (int i = 0; i < workers; i++) {
    const int64_t end = begin + share + (i < rest ? 1 : 0);
    ranges_[i].next.store(begin, std::memory_order_relaxed);
    ranges_[i].end = end;
    begin = end;
  }
  left_.store(0, std::memory_order_relaxed);
  const uint32_t epoch = epoch_.load(std::memory_order_relaxed) + 1;
  ticket_.store((static_cast<uint64_t>(epoch) << 32) | (static_cast<uint64_t>(workers) << 16),
                std::memory_order_release);
  epoch_.store(epoch);
  epoch_.notify_all();

  drain(0);

  const uint32_t joined =
      static_cast<uint32_t>(ticket_.fetch_or(kClosed, std::memory_order_acq_rel) & kJoined);
  Spin spin(spins_.load(std::memory_order_relaxed));
  for (;;) {
    const uint32_t left = left_.load(std::memory_order_acquire);
    if (left == joined) break;
    if (!spin.more()) left_.wait(left);
  }
  unlock();
}

CallContext::~CallContext() {
  for (Scratch& s : scratch_) release(s.data);
}

void CallContext::begin() {
  threads_ = pool_->threads();
  kind_ = Kind::none;
}

void CallContext::parallel(int64_t tasks, Task fn, void* arg) { pool_->run(tasks, fn, arg, threads_); }

void* CallContext::allocate_block(size_t bytes) {
  return allocate(bytes == 0 ? 64 : (bytes + 63) & ~size_t{63});
}

void CallContext::release_block(void* block) { release(block); }

void* CallContext::scratch(int worker, size_t bytes) {
  if (worker < kShared || worker >= kMaxThreads) return nullptr;
  Scratch& s = scratch_[1 + worker];
  if (bytes <= s.bytes && s.data != nullptr) return s.data;
  release(s.data);
  s = {};
  if (bytes > (size_t{1} << 46)) return nullptr;
  const size_t rounded = (bytes + 4095) & ~size_t{4095};
  s.data = allocate(rounded == 0 ? 4096 : rounded);
  if (s.data != nullptr) s.bytes = rounded;
  return s.data;
}

const CacheSizes& CallContext::cache() const { return machine().cache; }

void CallContext::lock() { lock_briefly(lock_); }

bool CallContext::fail_index(const char* kernel, int64_t index, int64_t position, int64_t bound) {
  lock();
  // Of several wrong indices the one that comes first in the array is reported, whichever thread met it
  // first.
  if (kind_ == Kind::none || (kind_ == Kind::index && position < position_)) {
    kind_ = Kind::index;
    kernel_ = kernel;
    index_ = index;
    position_ = position;
    bound_ = bound;
  }
  lock_.clear(std::memory_order_release);
  return false;
}

bool CallContext::fail_memory(const char* kernel) {
  lock();
  if (kind_ == Kind::none) {
    kind_ = Kind::memory;
    kernel_ = kernel;
  }
  lock_.clear(std::memory_order_release);
  return false;
}

const char* CallContext::error(char* text, size_t size) const {
  switch (kind_) {
    case Kind::index:
      snprintf(text, size, "%s: index %lld at position %lld is outside [0, %lld)", kernel_,
               static_cast<long long>(index_), static_cast<long long>(position_),
               static_cast<long long>(bound_));
      return "SIMDGRAD_INDEX";
    case Kind::memory:
      snprintf(text, size, "%s: out of memory for scratch space", kernel_);
      return "SIMDGRAD_MEMORY";
    default:
      snprintf(text, size, "the kernel failed and did not say why");
      return "SIMDGRAD_ERROR";
  }
}

}  // namespace simdgrad
