// Checks the runner's threads: jobs begin in order, run beside each other, find threads that sleep, and end
// before close() does. Worth running under ThreadSanitizer as well. Build: g++ -std=c++20 -O2 -pthread
// native/test/runner_test.cc native/src/target_*.cc
#include "../src/runner.cc"  // NOLINT: the units under test, whatever flags the addon was built with

#include <cstdio>
#include <thread>
#include <vector>

#include "../src/dispatch.cc"  // NOLINT

using namespace simdgrad;

namespace {

std::atomic<int> failures{0};

void expect(bool ok, const char* what) {
  if (ok) return;
  failures++;
  printf("failed: %s\n", what);
}

void pause_for(int milliseconds) { std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds)); }

// What a test posts: `body` runs on the runner's thread.
struct Task : Runner::Job {
  void (*body)(Task*) = nullptr;
  std::atomic<int>* counter = nullptr;
  int number = 0;
  int ran = 0;
  explicit Task(
      void (*body)(Task*) = [](Task*) {}, std::atomic<int>* counter = nullptr)
      : body(body), counter(counter) {
    next = nullptr;
    run = [](Job* job) {
      Task* task = static_cast<Task*>(job);
      task->ran++;
      task->body(task);
    };
  }
};

struct Bell {
  std::atomic<int> rings{0};
  static void ring(void* bell) { static_cast<Bell*>(bell)->rings++; }
  void wait(int count) const {
    const auto late = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (rings.load() < count) {
      std::this_thread::yield();
      if (std::chrono::steady_clock::now() < late) continue;
      printf("failed: job %d has not run\n", count);
      std::exit(1);
    }
  }
};

// As a training loop does: one after the other, at once or after a while.
void check_turns(int count, int pause) {
  Bell bell;
  Runner runner(Bell::ring, &bell);
  for (int i = 0; i < count; i++) {
    Task task;
    expect(runner.post(&task), "a job is taken");
    bell.wait(i + 1);
    expect(task.ran == 1, "a job runs once");
    expect(runner.take_ended() == &task, "a job that has ended is given back");
    expect(runner.take_ended() == nullptr, "and is so once");
    if (pause > 0) pause_for(pause);
  }
}

// Many posted together, for all threads, and for one while the others are kept: every job runs once, in
// order.
void check_many(int kept) {
  constexpr int kMany = 500;
  Bell bell;
  Runner runner(Bell::ring, &bell);
  std::atomic<int> open{0}, begun{0};
  std::vector<Task> keepers(static_cast<size_t>(kept)), tasks(kMany);
  for (Task& task : keepers) {
    task = Task(
        [](Task* task) {
          while (task->counter->load() == 0) std::this_thread::yield();
        },
        &open);
    expect(runner.post(&task), "a job is taken");
  }
  for (Task& task : tasks) {
    task = Task([](Task* task) { task->number = task->counter->fetch_add(1); }, &begun);
    expect(runner.post(&task), "a job is taken");
  }
  bell.wait(kMany);
  open.store(1);
  bell.wait(kMany + kept);
  bool once = true, ordered = true;
  for (int i = 0; i < kMany; i++) {
    once = once && tasks[static_cast<size_t>(i)].ran == 1;
    ordered = ordered && tasks[static_cast<size_t>(i)].number == i;
  }
  expect(once, "every job runs once");
  if (kept > 0) expect(ordered, "jobs begin in order");
  int given = 0;
  while (runner.take_ended() != nullptr) given++;
  expect(given == kMany + kept, "all are given back");
}

// Two that wait for each other can only end if they run at the same time.
void check_beside(int pause) {
  Bell bell;
  Runner runner(Bell::ring, &bell);
  for (int round = 1; round <= 20; round++) {
    std::atomic<int> here{0};
    const auto meet = [](Task* task) {
      task->counter->fetch_add(1);
      while (task->counter->load() < 2) std::this_thread::yield();
    };
    Task a(meet, &here), b(meet, &here);
    expect(runner.post(&a) && runner.post(&b), "jobs are taken");
    bell.wait(2 * round);
    runner.take_ended();
    runner.take_ended();
    if (pause > 0) pause_for(pause);
  }
}

void check_close() {
  for (int round = 0; round < 20; round++) {
    Bell bell;
    Runner runner(Bell::ring, &bell);
    std::vector<Task> tasks(12);
    for (Task& task : tasks) {
      task = Task([](Task*) { pause_for(1); });
      expect(runner.post(&task), "a job is taken");
    }
    pause_for(round % 4);
    runner.close();
    int ended = 0, left = 0;
    for (Runner::Job* job = runner.take_ended(); job != nullptr; job = runner.take_ended()) {
      expect(static_cast<Task*>(job)->ran == 1, "what is given back as ended has run");
      ended++;
    }
    for (Runner::Job* job = runner.take_posted(); job != nullptr; job = runner.take_posted()) {
      expect(static_cast<Task*>(job)->ran == 0, "what is given back as posted has not run");
      left++;
    }
    expect(ended + left == 12 && bell.rings.load() == ended, "close() loses no job");
    Task late;
    expect(!runner.post(&late), "no job is taken after close()");
    runner.close();
  }
  Bell bell;
  Runner never(Bell::ring, &bell);  // ends without a thread
}

}  // namespace

int main() {
  check_turns(3000, 0);
  check_turns(20, 2);  // longer than threads stay awake
  check_many(0);
  check_many(3);
  check_beside(0);
  check_beside(2);
  check_close();
  printf("runner: %d failures\n", failures.load());
  return failures.load() ? 1 : 0;
}
