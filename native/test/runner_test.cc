// Checks the runner's threads: jobs begin in order, run beside each other, find threads that sleep, and end
// before close() does. Worth running under ThreadSanitizer as well. Build: g++ -std=c++20 -O2 -pthread
// native/test/runner_test.cc native/src/target_*.cc
#include "../src/runner.cc"  // NOLINT: the units under test, whatever flags the addon was built with

#include <cstdio>
#include <thread>
#include <vector>

#include "../src/dispatch.cc"  // NOLINT
#include "expect.h"

using namespace simdgrad;

namespace {

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
};

// Waits until so many jobs have ended, and gives them in the order in which they did.
std::vector<Task*> collect(Runner& runner, size_t count) {
  const auto late = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  std::vector<Task*> ended;
  while (ended.size() < count) {
    for (Runner::Job* job = runner.take_ended(); job != nullptr; job = job->next) {
      ended.push_back(static_cast<Task*>(job));
    }
    std::this_thread::yield();
    if (std::chrono::steady_clock::now() < late) continue;
    printf("failed: only %zu of %zu jobs have run\n", ended.size(), count);
    std::exit(1);
  }
  return ended;
}

// As a training loop does: one after the other, at once or after a while.
void check_turns(int count, int pause) {
  Bell bell;
  Runner runner(Bell::ring, &bell);
  for (int i = 0; i < count; i++) {
    Task task;
    expect(runner.post(&task), "a job is taken");
    expect(collect(runner, 1)[0] == &task && task.ran == 1, "a job runs once and is given back");
    expect(runner.take_ended() == nullptr, "and is so once");
    if (pause > 0) pause_for(pause);
  }
}

// Runs until the number that it counts in is not 0.
void stay(Task* task) {
  while (task->counter->load() == 0) std::this_thread::yield();
}

// The bell rings for what has ended, and not again before somebody looks.
void check_bell() {
  Bell bell;
  Runner runner(Bell::ring, &bell);
  std::atomic<int> close{0};
  std::vector<Task> keepers(3), tasks(8);
  for (Task& task : keepers) {  // all threads but one
    task = Task(stay, &close);
    runner.post(&task);
  }
  for (int round = 0; round < 20; round++) {
    std::atomic<int> here{0}, open{0};
    for (Task& task : tasks) {
      task = Task();
      runner.post(&task);
    }
    struct Last : Task {
      std::atomic<int>* here;
    } last;
    last.here = &here;
    last.counter = &open;
    last.body = [](Task* task) {
      static_cast<Last*>(task)->here->store(1);
      stay(task);
    };
    runner.post(&last);
    while (here.load() == 0) std::this_thread::yield();
    expect(bell.rings.load() == 2 * round + 1, "one ring for all that ended since somebody looked");
    expect(collect(runner, 8).size() == 8, "all are given back");
    open.store(1);
    expect(collect(runner, 1)[0] == &last, "the last one too");
    while (bell.rings.load() < 2 * round + 2) std::this_thread::yield();
  }
  close.store(1);
  collect(runner, 3);
}

// Many posted together, for all threads, and for one while the others are kept: every job runs once, in
// order.
void check_many(size_t kept) {
  constexpr size_t kMany = 500;
  Bell bell;
  Runner runner(Bell::ring, &bell);
  std::atomic<int> open{0}, begun{0};
  std::vector<Task> keepers(kept), tasks(kMany);
  for (Task& task : keepers) {
    task = Task(stay, &open);
    expect(runner.post(&task), "a job is taken");
  }
  for (Task& task : tasks) {
    task = Task([](Task* task) { task->number = task->counter->fetch_add(1); }, &begun);
    expect(runner.post(&task), "a job is taken");
  }
  const std::vector<Task*> ended = collect(runner, kMany);
  bool once = true, ordered = true;
  for (size_t i = 0; i < kMany; i++) {
    once = once && tasks[i].ran == 1;
    ordered = ordered && tasks[i].number == static_cast<int>(i) && ended[i] == &tasks[i];
  }
  expect(once, "every job runs once");
  if (kept > 0) expect(ordered, "jobs begin and end in order");
  open.store(1);
  expect(collect(runner, kept).size() == kept, "all are given back");
}

// Two that wait for each other can only end if they run at the same time.
void check_beside(int pause) {
  Bell bell;
  Runner runner(Bell::ring, &bell);
  for (int round = 0; round < 20; round++) {
    std::atomic<int> here{0};
    const auto meet = [](Task* task) {
      task->counter->fetch_add(1);
      while (task->counter->load() < 2) std::this_thread::yield();
    };
    Task a(meet, &here), b(meet, &here);
    expect(runner.post(&a) && runner.post(&b), "jobs are taken");
    expect(collect(runner, 2).size() == 2, "both are given back");
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
    for (Runner::Job* job = runner.take_ended(); job != nullptr; job = job->next) {
      expect(static_cast<Task*>(job)->ran == 1, "what is given back as ended has run");
      ended++;
    }
    for (Runner::Job* job = runner.take_posted(); job != nullptr; job = job->next) {
      expect(static_cast<Task*>(job)->ran == 0, "what is given back as posted has not run");
      left++;
    }
    expect(ended + left == 12, "close() loses no job");
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
  check_bell();
  check_many(0);
  check_many(3);
  check_beside(0);
  check_beside(2);
  check_close();
  return report("runner");
}
