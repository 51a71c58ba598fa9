// Checks the thread pool and the contexts: every task runs once, from several callers at a time, while the
// pool is resized and closed. Worth running under ThreadSanitizer as well. Build: g++ -std=c++20 -O2 -pthread
// native/test/context_test.cc native/src/target_*.cc
#include "../src/context.cc"  // NOLINT: the units under test, whatever flags the addon was built with

#include <thread>
#include <vector>

#include "../src/dispatch.cc"  // NOLINT
#include "expect.h"

using namespace simdgrad;

namespace {

struct Job {
  std::vector<std::atomic<int>> runs;
  std::atomic<int> highest{0};
  int64_t work;
  explicit Job(int64_t tasks, int64_t work) : runs(static_cast<size_t>(tasks)), work(work) {}
  static void task(void* arg, int64_t task, int worker) {
    Job* job = static_cast<Job*>(arg);
    volatile int64_t sink = 0;
    for (int64_t i = 0; i < job->work; i++) sink = sink + i;
    job->runs[static_cast<size_t>(task)]++;
    int seen = job->highest.load();
    while (worker > seen && !job->highest.compare_exchange_weak(seen, worker)) {
    }
  }
};

constexpr double kLong = 1e9, kShort = 10'000;

void check_job(CallContext& context, int64_t tasks, int64_t work, double ns = kLong) {
  context.begin();
  Job job(tasks, work);
  context.parallel(tasks, Job::task, &job, ns);
  bool once = true;
  for (const auto& runs : job.runs) once = once && runs.load() == 1;
  expect(once, "every task runs once");
  expect(job.highest.load() < context.threads(), "workers are below threads()");
}

void check_sizes() {
  for (int threads : {1, 2, 3, 7}) {
    Pool pool(threads);
    CallContext context(&pool);
    for (int64_t tasks : {0, 1, 2, 3, 8, 100, 1001}) check_job(context, tasks, 50);
    for (int i = 0; i < 2000; i++) check_job(context, threads, 10);
  }
}

void check_sleeping_helpers() {
  Pool pool(3);
  CallContext context(&pool);
  for (int i = 0; i < 20; i++) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));  // longer than helpers spin
    check_job(context, 64, 2000);
  }
}

// Tasks that last are shared out, also where the helper has to wake up.
void check_help(bool asleep) {
  Pool pool(2);
  CallContext context(&pool);
  int highest = 0;
  for (int i = 0; i < 200 && highest == 0; i++) {
    if (asleep) {
      check_job(context, 2, 10);
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    context.begin();
    Job job(16, 200000);
    context.parallel(16, Job::task, &job, kLong);
    highest = job.highest.load();
  }
  expect(highest == 1, asleep ? "a helper wakes up" : "a helper takes part");
}

// Short jobs leave helpers asleep, unless many of them follow each other.
void check_rest() {
  Pool pool(2);
  CallContext context(&pool);
  check_job(context, 2, 10);
  // Whatever a job is said to take, it takes long enough for a helper that is called to come.
  const auto highest = [&context](int64_t work) {
    context.begin();
    Job job(16, work);
    context.parallel(16, Job::task, &job, kShort);
    return job.highest.load();
  };
  int rested = 0, woken = 0;
  for (int i = 0; i < 20; i++) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    rested += highest(1000000) == 0 ? 1 : 0;
  }
  expect(rested > 10, "a short job wakes nobody");
  for (int i = 0; i < 20000 && woken == 0; i++) woken = highest(2000);
  expect(woken == 1, "short jobs that follow each other wake a helper");
}

// Jobs of all sizes at all distances, some of them as helpers are about to fall asleep.
void check_distances() {
  uint32_t random = 1;
  const auto below = [&random](uint32_t n) {
    random = random * 1664525 + 1013904223;
    return static_cast<int64_t>((random >> 8) % n);
  };
  for (int threads : {2, 3, 5}) {
    Pool pool(threads);
    CallContext context(&pool);
    for (int i = 0; i < 3000; i++) {
      if (i % 4 == 0) {
        const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(below(400));
        while (std::chrono::steady_clock::now() < until) {
        }
      }
      check_job(context, 1 + below(below(2) == 0 ? 3 : 40), below(3000), below(2) == 0 ? kShort : kLong);
    }
  }
}

void check_callers() {
  Pool pool(3);
  std::vector<std::thread> callers;
  for (int c = 0; c < 4; c++) {
    callers.emplace_back([&pool] {
      CallContext context(&pool);
      for (int i = 0; i < 500; i++) check_job(context, 1 + i % 17, 100);
    });
  }
  std::thread resizer([&pool] {
    for (int i = 0; i < 100; i++) pool.resize(1 + i % 5);
  });
  for (std::thread& caller : callers) caller.join();
  resizer.join();
  pool.close();
  CallContext context(&pool);
  check_job(context, 100, 10);
  pool.resize(4);
  check_job(context, 100, 10);
}

void check_scratch() {
  Pool pool(2);
  CallContext context(&pool);
  char* first = static_cast<char*>(context.scratch(0, 100));
  expect(first != nullptr && reinterpret_cast<uintptr_t>(first) % 64 == 0, "scratch is aligned");
  expect(context.scratch(0, 50) == first, "scratch is kept");
  char* other = static_cast<char*>(context.scratch(1, 100));
  expect(other != nullptr && other != first, "scratch is per worker");
  char* shared = static_cast<char*>(context.scratch(Context::kShared, 100));
  expect(shared != nullptr && shared != first && shared != other, "there is scratch that all share");
  expect(context.scratch(Context::kShared - 1, 1) == nullptr, "there is no other");
  char* grown = static_cast<char*>(context.scratch(0, 1 << 20));
  expect(grown != nullptr, "scratch grows");
  memset(grown, 1, 1 << 20);
  expect(context.scratch(0, SIZE_MAX) == nullptr, "scratch that cannot be had is null");
  expect(context.scratch(0, 0) != nullptr, "scratch works again");
}

void check_errors() {
  Pool pool(2);
  CallContext context(&pool);
  char text[128];
  context.begin();
  expect(!context.fail_index("nll", 12, 30, 10) && !context.fail_index("nll", 11, 3, 10), "fail gives false");
  context.fail_memory("matmul");
  expect(strcmp(context.error(text, sizeof text), "SIMDGRAD_INDEX") == 0, "the code of an index error");
  expect(strcmp(text, "nll: index 11 at position 3 is outside [0, 10)") == 0,
         "the first position is reported");
  context.begin();
  context.fail_memory("matmul");
  expect(strcmp(context.error(text, sizeof text), "SIMDGRAD_MEMORY") == 0, "begin() forgets the last error");
}

void check_machine() {
  expect(machine().threads >= 1 && machine().threads <= kMaxThreads, "threads");
  expect(machine().processors >= 1, "processors");
  if (std::getenv("SIMDGRAD_THREADS") == nullptr)
    expect(machine().threads <= machine().processors, "more threads than processors");
#if defined(__linux__)
  cpu_set_t set;
  CPU_ZERO(&set);
  for (int i : {1, 2, 3, 64, 66}) CPU_SET(i, &set);
  const struct {
    const char* sharing;
    int processor;
    bool first;
  } cases[] = {{"0,64", 64, true}, {"2,66", 2, true}, {"2,66", 66, false},   {"0-3", 1, true},
               {"0-3", 2, false},  {"2-3", 3, false}, {"0,3,64", 64, false}, {"", 2, true}};
  for (const auto& c : cases)
    expect(first_of_core(c.sharing, c.processor, &set, sizeof set) == c.first, c.sharing);
#endif
  expect(machine().cache.l1 >= 4096 && machine().cache.l2 >= machine().cache.l1, "cache sizes");
  expect(isa_runs(Isa::baseline) && isa_runs(default_isa()), "the default instruction set runs");
  for (int i = 1; i < kIsas; i++) {
    const KernelTable& lower = kernel_table(static_cast<Isa>(i - 1));
    const KernelTable& higher = kernel_table(static_cast<Isa>(i));
    for (int k = 0; k < kNumKernels; k++) {
      for (int t = 0; t < kTypes; t++) {
        expect(lower.run[k][t] == nullptr || higher.run[k][t] != nullptr, "a faster table lacks no kernel");
      }
    }
  }
}

}  // namespace

int main() {
  check_sizes();
  check_sleeping_helpers();
  check_help(false);
  check_help(true);
  check_rest();
  check_distances();
  check_callers();
  check_scratch();
  check_errors();
  check_machine();
  return report("context");
}
