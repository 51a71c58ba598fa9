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

constexpr uint64_t kClosed = 1u << 31, kJoined = 1u << 30, kNext = kJoined - 1;
constexpr int64_t kMostTasks = 1 << 29;

inline uint32_t epoch_of(uint64_t state) { return static_cast<uint32_t>(state >> 32); }

// Of what a job's tasks are told, which they read first of all.
constexpr int kArgLines = 8;

// So much work is worth waking a helper for: whoever does it loses some 15 us, and the helper comes after 50
// more, or far fewer where it has a core of its own.
constexpr double kWorthWaking = 100'000;

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
  epoch_++;
  for (int i = 1; i <= spawned_; i++) {
    shares_[i].fn = nullptr;
    shares_[i].count = 0;
    shares_[i].state.store(static_cast<uint64_t>(epoch_) << 32, std::memory_order_release);
  }
  for (int i = 1; i <= spawned_; i++) wake(i);
  for (int i = 0; i < spawned_; i++) join_thread(helpers_[i].thread);
  spawned_ = 0;
  free(helpers_);
  helpers_ = nullptr;
}

void Pool::spawn(int count) {
  if (helpers_ == nullptr) helpers_ = static_cast<Helper*>(calloc(kMaxThreads, sizeof(Helper)));
  if (helpers_ == nullptr) return;
  // More threads than processors: spinning would only take time from the one that works.
  spins_.store(threads() <= machine().processors, std::memory_order_relaxed);
  while (spawned_ < count && !spawn_failed_) {
    Helper* helper = helpers_ + spawned_;
    helper->pool = this;
    helper->worker = spawned_ + 1;
    helper->epoch = epoch_of(shares_[helper->worker].state.load(std::memory_order_relaxed));
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
  Share& own = shares_[worker];
  for (;;) {
    Spin spin(spins_.load(std::memory_order_relaxed));
    while (epoch_of(own.state.load(std::memory_order_acquire)) == seen) {
      if (spin.more()) continue;
      // An exchange, as in wake(): the later of the two sees what was written before the other.
      std::atomic<uint32_t>& asleep = done_[worker].asleep;
      asleep.exchange(1);
      if (epoch_of(own.state.load(std::memory_order_acquire)) == seen) asleep.wait(1);
      asleep.store(0);
    }
    prefetch_lines(own.arg.load(std::memory_order_relaxed), kArgLines);
    // Joins the job that is there by now. Where the caller has closed it, it looks at this no more.
    const uint64_t state = own.state.fetch_or(kJoined, std::memory_order_acq_rel);
    seen = epoch_of(state);
    if ((state & kClosed) != 0) continue;
    if (own.fn == nullptr) return;
    drain(worker, seen, own.participants, own.one_each);
    done_[worker].epoch.store(seen);
    done_[worker].epoch.notify_one();
  }
}

// Does one of the tasks of a share that are left.
bool Pool::take(int worker, Share& share, uint32_t epoch) {
  uint64_t state = share.state.load(std::memory_order_acquire);
  if (epoch_of(state) != epoch || static_cast<int64_t>(state & kNext) >= share.count) return false;
  state = share.state.fetch_add(1, std::memory_order_acq_rel);
  const int64_t next = static_cast<int64_t>(state & kNext);
  if (next >= share.count) return false;
  share.fn(share.arg.load(std::memory_order_relaxed), share.first + next, worker);
  return true;
}

// Each worker begins with a share of its own, the same one each time (what it touched last may still be in
// its cache), then helps with the others'. The caller begins at once: if it has one task only, none is left.
void Pool::drain(int worker, uint32_t epoch, int participants, bool one_each) {
  for (int i = 0, from = worker; i < participants; i++) {
    if (from > 0 || !one_each) {
      while (take(worker, shares_[from], epoch)) {
      }
    }
    if (++from == participants) from = 0;
  }
}

// How many of the first workers are awake, up to the first that sleeps.
int Pool::awake(int workers) const {
  int i = 1;
  while (i < workers && done_[i].asleep.load(std::memory_order_relaxed) == 0) i++;
  return i;
}

// Whether helpers that sleep should be woken for a job: where it is worth it together with those just before,
// or where those before the last pause were, as what has come once mostly comes again.
bool Pool::worth_waking(double ns) {
  const int64_t now = nanoseconds();
  if (now - found_asleep_ > kStayAwake) {
    last_work_ = work_;
    work_ = 0;
  }
  found_asleep_ = now;
  return work_ + ns >= kWorthWaking || last_work_ >= kWorthWaking;
}

void Pool::wake(int worker) {
  std::atomic<uint32_t>& asleep = done_[worker].asleep;
  if (asleep.exchange(0) != 0) asleep.notify_one();
}

void Pool::run(int64_t tasks, Context::Task fn, void* arg, double ns, int limit) {
  const auto serial = [=] {
    for (int64_t task = 0; task < tasks; task++) fn(arg, task, 0);
  };
  if (tasks <= 1 || limit <= 1 || tasks > kMostTasks || busy_.test_and_set(std::memory_order_acquire))
    return serial();
  int workers = threads();
  if (workers > limit) workers = limit;
  if (workers > tasks) workers = static_cast<int>(tasks);
  if (!closed_ && workers - 1 > spawned_) spawn(workers - 1);
  if (workers > spawned_ + 1) workers = spawned_ + 1;
  if (workers <= 1 || closed_) {
    unlock();
    return serial();
  }

  const int ready = awake(workers);
  if (ready < workers && !worth_waking(ns)) workers = ready;
  work_ += ns;
  if (workers == 1) {
    unlock();
    return serial();
  }

  const uint32_t epoch = ++epoch_;
  const int64_t share = tasks / workers, rest = tasks % workers;
  for (int i = workers - 1; i >= 0; i--) {
    Share& s = shares_[i];
    s.first = i * share + (i < rest ? i : rest);
    s.count = share + (i < rest ? 1 : 0);
    s.fn = fn;
    s.arg.store(arg, std::memory_order_relaxed);
    s.participants = workers;
    s.one_each = tasks == workers;
    s.state.store(static_cast<uint64_t>(epoch) << 32, std::memory_order_release);
  }
  // A helper that goes to sleep at this very moment may be missed: the caller does not need it.
  for (int i = ready; i < workers; i++) wake(i);

  drain(0, epoch, workers, false);

  for (int i = 1; i < workers; i++) {
    std::atomic<uint32_t>& done = done_[i].epoch;
    std::atomic<uint64_t>& state = shares_[i].state;
    if ((state.load(std::memory_order_acquire) & kJoined) == 0 &&
        (state.fetch_or(kClosed, std::memory_order_acq_rel) & kJoined) == 0) {
      continue;
    }
    Spin spin(spins_.load(std::memory_order_relaxed));
    for (uint32_t last; (last = done.load(std::memory_order_acquire)) != epoch;) {
      if (!spin.more()) done.wait(last);
    }
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

void CallContext::parallel(int64_t tasks, Task fn, void* arg, double ns) {
  pool_->run(tasks, fn, arg, ns, threads_);
}

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
