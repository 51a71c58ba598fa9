// The threads that programs run on while JavaScript goes on.
#pragma once

#include <atomic>
#include <cstdint>

namespace simdgrad {

// Runs jobs off the thread that posts them. They begin in the order in which they are posted, as many at a
// time as there are threads. These are our own and not the event loop's, because one that has ended a job
// stays awake for a while: the next one of a training loop finds it where it is, on a processor of its own.
// A thread that has to be woken beside the pool's may be put on the processor of one of them.
class Runner {
 public:
  struct Job {
    void (*run)(Job* job);  // on a thread of the runner
    Job* next;
  };
  // `ended(arg)` is called on a thread of the runner when a job has run, and not again before take_ended().
  Runner(void (*ended)(void* arg), void* arg) : ended_(ended), arg_(arg) {}
  ~Runner() { close(); }
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  // These are for one thread, which posts the jobs.

  // False where the system gives no thread, or after close(): the job will not run.
  bool post(Job* job);
  // The jobs that have run, in the order in which they ended, linked by `next`.
  Job* take_ended();
  // Lets the jobs in progress end, and waits for that.
  void close();
  // After close(): those that will not run.
  Job* take_posted();

 private:
  static constexpr int kMost = 4;

  struct Queue {  // first in, first out
    Job* first = nullptr;
    Job* last = nullptr;
    int size = 0;
    void add(Job* job);
    Job* take();      // the first
    Job* take_all();  // linked
  };

  static void* worker_main(void* runner);
  void work();
  void sleep();  // until the next post
  void lock();
  void unlock() { lock_.clear(std::memory_order_release); }

  void (*const ended_)(void* arg);
  void* const arg_;
  alignas(64) std::atomic<uint32_t> posts_{0};  // what threads without a job wait on
  alignas(64) std::atomic_flag lock_ = ATOMIC_FLAG_INIT;
  // Under the lock:
  Queue posted_, done_;
  int awake_ = 0;      // threads that look for a job
  int asleep_ = 0;     // those that have to be woken for one
  bool told_ = false;  // that jobs have ended
  bool closed_ = false;
  // The poster's own:
  struct Worker;
  Worker* workers_ = nullptr;
  int started_ = 0;
};

}  // namespace simdgrad
